# SPDX-License-Identifier: Apache-2.0
"""What podman or docker says when it makes no container, and what the agent makes of it."""

import pytest

from agent.core.failures.classes import FailureClass as F
from tests.given.engine_logs import diagnose

OCI = (
    "docker: Error response from daemon: failed to create task for container: OCI runtime create"
    " failed: runc create failed: error running hook #0: exit status 1, stdout: , stderr: Auto\n"
)


@pytest.mark.parametrize(
    ("said", "failure"),
    [
        (f"{OCI}nvidia-container-cli: initialization error: load library failed", F.CONTAINER_GPU),
        (f"{OCI}nvidia-container-cli: initialization error: nvml error: driver not", F.NO_GPU),
        (f"{OCI}nvidia-container-cli: device error: 3: unknown device: unknown", F.CONTAINER_GPU),
        (OCI, F.CONTAINER_REFUSED),
    ],
)
def test_the_hooks_own_words_outrank_those_of_the_runtime(said: str, failure: F) -> None:
    assert diagnose(said.replace("driver not", "driver not loaded: unknown")).failure is failure


@pytest.mark.parametrize(
    "line",
    [
        "INFO 11-12 10:00:00 [serving.py:1] image not known to the processor, using default",
        "(APIServer pid=1) WARNING could not find manifest unknown: skipped",
    ],
)
def test_vllms_own_words_about_images_are_no_missing_image(line: str) -> None:
    assert diagnose(line).failure is not F.IMAGE_MISSING
