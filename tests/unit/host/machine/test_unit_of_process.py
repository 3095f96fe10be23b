# SPDX-License-Identifier: Apache-2.0
"""To which unit a process belongs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent.core.unit.ray_unit import render_ray_unit
from agent.core.unit.text import UnitInputs
from agent.host.machine.unit_of_process import unit_of_groups
from tests.unit.core.unit.test_ray_unit import HEAD


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/system.slice/vllm.service", "vllm.service"),
        ("/system.slice/vllm-ray.service", "vllm.service"),
        ("/system.slice/x-ray.service", "x-ray.service"),
        ("/system.slice/other-ray.service", "other-ray.service"),
        ("/user.slice/user-0.slice/session-1.scope", "session-1.scope"),
        ("/", ""),
    ],
)
def test_workers_below_ray_are_their_services_and_no_other_of_such_a_name(
    tmp_path: Path, path: str, unit: str
) -> None:
    (tmp_path / "vllm-ray.service").write_text(render_ray_unit(HEAD, UnitInputs()))
    (tmp_path / "x-ray.service").write_text("[Unit]\nDescription=a service that is called x-ray\n")
    assert unit_of_groups(f"0::{path}\n", tmp_path, tmp_path) == unit


def test_the_service_that_ray_is_part_of_is_told_by_its_unit(tmp_path: Path) -> None:
    named = replace(HEAD, name="chat")
    (tmp_path / "chat-ray.service").write_text(render_ray_unit(named, UnitInputs()))
    assert (
        unit_of_groups("0::/system.slice/chat-ray.service\n", tmp_path, tmp_path) == "chat.service"
    )
