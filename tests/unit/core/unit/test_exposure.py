# SPDX-License-Identifier: Apache-2.0
"""The exposure that `systemd-analyze security` gives each unit, ten times its figure."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from agent.core.engine.install import Engine
from agent.core.settings.service import Sandbox, Settings
from agent.core.unit.text import UnitInputs, render_unit
from tests.rig.paths import REPO

ENGINE = Engine("0.32.0", has_vllm_metadata=True, flags=None)
LOCAL = Settings("vllm", "/srv/models/m")
HUB = Settings("vllm", "org/name")
PUBLIC = Settings("vllm", "/srv/models/m", host="0.0.0.0")
TWO_GPUS = Settings("vllm", "org/name", tensor_parallel_size=2)
TWO_GPUS_LOCAL = Settings("vllm", "/srv/models/m", tensor_parallel_size=2)
BASIC = Settings("vllm", "org/name", sandbox=Sandbox.BASIC)


def exposure(unit: Path) -> int:
    argv = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
    done = subprocess.run(argv, capture_output=True, text=True)
    found = re.search(r"Overall exposure level for \S+: (\d+)\.(\d)", done.stdout)
    assert found is not None, done.stderr
    return int(found[1]) * 10 + int(found[2])


@pytest.mark.parametrize(
    ("settings", "most"),
    [(LOCAL, 15), (HUB, 16), (PUBLIC, 16), (TWO_GPUS, 18), (TWO_GPUS_LOCAL, 18), (BASIC, 76)],
    ids=["local", "hub", "public", "two GPUs", "two GPUs, local", "basic"],
)
def test_no_unit_is_more_exposed_than_what_is_published(
    tmp_path: Path, settings: Settings, most: int
) -> None:
    unit = tmp_path / settings.unit
    unit.write_text(render_unit(settings, ENGINE, UnitInputs(nvidia_devices=True)))
    assert most - 2 <= exposure(unit) <= most


def test_the_agents_own_unit_is_bounded_and_no_more_exposed_than_what_is_published() -> None:
    unit = REPO / "units/llmagent.service"
    assert exposure(unit) == 23
    assert "\nMemoryMax=384M\n" in unit.read_text()
    assert "\nLimitCORE=0\n" in unit.read_text()
    assert "\nTasksMax=512\n" in unit.read_text()
