# SPDX-License-Identifier: Apache-2.0
"""The adapter on a real driver, read-only, held against `nvidia-smi -q -x` field by field."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from agent.host.nvidia.driver_files import DriverFiles, DriverPlaces
from agent.host.nvidia.nvml import Nvml
from tests.gpu.smi_xml import cards, differences

VERSIONS = DriverFiles(DriverPlaces()).read()
pytestmark = pytest.mark.skipif(
    not VERSIONS.module_version or not shutil.which("nvidia-smi"),
    reason="no NVIDIA driver is loaded on this machine, or it has no nvidia-smi",
)


def test_the_adapter_says_what_nvidia_smi_says() -> None:
    nvml = Nvml()
    nvml.open()
    look = nvml.look(medium=True, slow=True, processes=True)
    xml = subprocess.run(
        ["nvidia-smi", "-q", "-x"], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    listed = cards(xml)
    print("\n".join(map(repr, look.gpus)))
    assert {gpu.uuid for gpu in look.gpus} == listed.keys()
    apart = [
        f"GPU {gpu.index}, {line}"
        for gpu in look.gpus
        for line in differences(gpu, listed[gpu.uuid])
    ]
    assert apart == []
    assert not any(gpu.problem for gpu in look.gpus)


def test_library_and_module_are_found_in_the_drivers_files() -> None:
    assert VERSIONS.library is not None
    assert VERSIONS.library_version == VERSIONS.module_version
