# SPDX-License-Identifier: Apache-2.0
"""nvidia-smi as it is run: its options, its refusals, and one that never ends."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.host.nvidia import smi as nvidia_smi
from agent.host.nvidia.smi import SmiEnd, SmiResult
from tests.rig.nvsim import HostGpus, part

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the driver lets only root change a card")

Program = Callable[[str], str]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Makes an executable of a shell text and returns its path."""

    def make(text: str) -> str:
        path = tmp_path / "nvidia-smi"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return make


@pytest.fixture
def simulated(gpus: HostGpus, program: Program) -> str:
    """Returns the path of the simulated nvidia-smi on simulated cards."""
    environment = {
        name: gpus.environment[name] for name in ("LD_LIBRARY_PATH", "NVSIM_STATE", "NVSIM_LOG")
    }
    words = [f"{name}={shlex.quote(value)}" for name, value in environment.items()]
    path = f"PYTHONPATH={part()}:{part() / 'lib'}"
    return program(f'{" ".join(words)} {path} exec /usr/bin/python3 -m nvsim.nvidia_smi "$@"')


def run(program: str | None, *options: str, deadline: float = 20.0) -> SmiResult:
    return nvidia_smi.run(program, options, before=(), deadline_seconds=deadline)


def uuid(gpus: HostGpus, index: int = 0) -> str:
    return str(gpus.state.get(index, "uuid"))


@needs_root
def test_a_limit_is_set_on_that_card_alone(gpus: HostGpus, simulated: str) -> None:
    gpus.state.create("rtx4090", "rtx4090")
    ended = run(simulated, *nvidia_smi.set_power_limit(uuid(gpus, 1), 400.0))
    assert ended.end is SmiEnd.DONE
    assert "was set to 400.00 W from 450.00 W" in ended.said
    assert gpus.state.get(1, "power_limit_mw") == "400000"
    assert gpus.state.get(0, "power_limit_mw") == "450000"


@needs_root
def test_clocks_and_persistence_mode_are_set(gpus: HostGpus, simulated: str) -> None:
    gpus.state.create("gb10")
    card = uuid(gpus)
    for options in (
        nvidia_smi.lock_clocks(card, 0, 2100),
        nvidia_smi.unlock_clocks(card),
        nvidia_smi.persistence_mode_on(card),
    ):
        assert run(simulated, *options).end is SmiEnd.DONE
    calls = [call.function for call in gpus.calls()]
    assert "nvmlDeviceSetGpuLockedClocks" in calls
    assert "nvmlDeviceResetGpuLockedClocks" in calls
    assert "nvmlDeviceSetPersistenceMode" in calls


@needs_root
def test_a_card_without_a_limit_is_told_apart_though_nvidia_smi_calls_it_a_warning(
    gpus: HostGpus, simulated: str
) -> None:
    gpus.state.create("gb10")
    ended = run(simulated, *nvidia_smi.set_power_limit(uuid(gpus), 100.0))
    assert ended.end is SmiEnd.NOT_SUPPORTED


@needs_root
def test_a_refusal_keeps_nvidia_smis_words(gpus: HostGpus, simulated: str) -> None:
    gpus.state.create("rtx4090")
    ended = run(simulated, *nvidia_smi.set_power_limit(uuid(gpus), 50.0))
    assert ended.end is SmiEnd.FAILED
    assert "should be between 150.00 W and 600.00 W" in ended.said


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("echo 'Insufficient Permissions'; exit 4", SmiEnd.NOT_PERMITTED),
        ("echo 'You do not have permission to change this'; exit 1", SmiEnd.NOT_PERMITTED),
        (
            "echo 'limit is not supported for GPU'; echo All done.",
            SmiEnd.NOT_SUPPORTED,
        ),
        ("exit 3", SmiEnd.NOT_SUPPORTED),
        ("echo 'No devices were found'; exit 6", SmiEnd.FAILED),
        ("kill -9 $$", SmiEnd.FAILED),
    ],
)
def test_each_way_to_end_is_told_apart(program: Program, text: str, end: SmiEnd) -> None:
    ended = run(program(text))
    assert ended.end is end
    assert ended.said


def test_one_that_never_ends_is_given_up_at_its_deadline(program: Program) -> None:
    ended = run(program("exec sleep 300"), deadline=0.3)
    assert ended == SmiResult(SmiEnd.FAILED, "nvidia-smi was not done after 0.3 s")


def test_a_host_without_nvidia_smi_is_told_so() -> None:
    assert run(None).end is SmiEnd.NO_TOOL


def test_a_program_that_cannot_be_run_raises_nothing(tmp_path: Path) -> None:
    ended = run(str(tmp_path / "gone"))
    assert ended.end is SmiEnd.FAILED
    assert "cannot be run" in ended.said
