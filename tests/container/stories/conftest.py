# SPDX-License-Identifier: Apache-2.0
"""One machine of each Debian for all stories, and the mark that says which story a test plays."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import machines
from tests.container.stories.stage import UNIT, Stage
from tests.rig import binds


@pytest.fixture(scope="package", params=["bookworm", "trixie"])
def debian(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Returns a machine with eight GPUs and the package installed."""
    with machines() as boot:
        made = Stage(boot(request.param, binds=[binds.scripted_engine(), binds.simulated_gpus()]))
        made.install()
        yield made


@pytest.fixture
def stage(debian: Stage) -> Stage:
    """Returns the machine with nothing configured and nothing remembered."""
    link = debian.box.run(["readlink", UNIT], check=False).stdout.strip()
    if link != "/etc/llmagent/units/vllm.service":
        debian.end_foreign()
    debian.begin_anew()
    return debian
