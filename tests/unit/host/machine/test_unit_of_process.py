# SPDX-License-Identifier: Apache-2.0
"""To which unit a process belongs, and which processes are in a container."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent.core.unit.ray_unit import render_ray_unit
from agent.core.unit.text import UnitInputs
from agent.host.machine.unit_of_process import processes_in_container, unit_of_groups
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


OURS, OTHER = "ab" * 32, "cd" * 32


def proc_of(place: Path, groups: dict[int, str]) -> Path:
    for pid, group in groups.items():
        (place / str(pid)).mkdir(parents=True)
        (place / str(pid) / "cgroup").write_text(f"0::{group}\n")
    (place / "sys").mkdir()
    (place / "77").mkdir()  # it has ended
    return place


def test_a_containers_processes_are_found_wherever_its_runtime_keeps_them(tmp_path: Path) -> None:
    groups = {
        30: f"/system.slice/docker-{OURS}.scope",  # docker, by systemd
        20: f"/docker/{OURS}/below",  # docker, by cgroupfs
        9: f"/machine.slice/libpod-{OURS}.scope/container",  # podman with a group of its own
        40: f"/system.slice/docker-{OTHER}.scope",
        50: "/system.slice/vllm.service",
        60: f"/system.slice/docker-{OURS}00.scope",
    }
    proc = proc_of(tmp_path / "proc", groups)
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm/cid").write_text(f"{OURS}\n")
    assert processes_in_container("vllm", proc, tmp_path) == (9, 20, 30)
    assert processes_in_container("other", proc, tmp_path) == ()


@pytest.mark.parametrize("said", ["", "\n", "ab", "a" * 63, "/", "a" * 65])
def test_what_is_no_containers_id_names_no_process(tmp_path: Path, said: str) -> None:
    proc = proc_of(tmp_path / "proc", {1: "/", 30: f"/system.slice/docker-{OURS}.scope"})
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm/cid").write_text(said)
    assert processes_in_container("vllm", proc, tmp_path) == ()
