# SPDX-License-Identifier: Apache-2.0
"""What is seen of a run before its kill, and who has a port, come into the history."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.diagnosis.numbers import Numbers
from agent.core.doctor.host import Listener
from agent.core.failures.classes import EnginePhase, FailureClass
from agent.core.gpu.reading import Gpu, GpuMemory, Gpus
from agent.core.judges.service.evidence import MOST_CHARACTERS, bounded
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.actions import Action, LookAtPort, Stop, TakeEvidence
from agent.core.state.observations import (
    GpusSeen,
    LogConcluded,
)
from agent.core.state.phases import Phase
from agent.core.state.process import EvidenceTaken, PortSeen, ProcessSeen
from agent.daemon.clock import agent_clock
from agent.daemon.effectors.evidence import take_evidence
from agent.host.vllm.process import process_status
from agent.host.vllm.stacks import only_root_writes
from tests.given.simulated_engine import diagnosis_of
from tests.given.simulated_host import SimulatedHost

F = FailureClass
CORE = ProcessSeen(4300, "VLLM::EngineCor", "R", 40, 2**30, stack='Thread 1: "MainThread"\n  step')


def serving() -> tuple[SimulatedHost, list[Action]]:
    policy = ServicePolicy(Settings("vllm", "/srv/m", max_model_len=8192))
    host = SimulatedHost({"vllm": policy})
    host.agent_starts()
    host.carry_out()
    assert host.serving_within(120)
    done: list[Action] = []
    host.on_action = done.append
    return host, done


def test_evidence_is_taken_before_a_hung_engine_is_killed() -> None:
    host, done = serving()
    invocation = host.service().invocation_id
    host.hangs()
    host.pass_time(400)
    kill = next(action for action in done if isinstance(action, Stop) and action.kill)
    look = done[done.index(kill) - 1]
    assert look == TakeEvidence("vllm", invocation, "/opt/vllm/bin/python")


def test_evidence_is_in_the_history_with_the_last_look_at_the_gpus() -> None:
    host, _ = serving()
    card = Gpu(0, "GPU-aaaa", utilization_ratio=1.0, memory=GpuMemory(24, 20, 4))
    host.observe(GpusSeen(host.now, Gpus(host.now, (card, Gpu(1, "GPU-bbbb")))))
    lines = ("INFO Engine 000: Avg generation throughput: 0.0 tokens/s",)
    taken = EvidenceTaken(host.now, "vllm", host.service().invocation_id, (CORE,), lines)
    host.observe(taken)
    told = host.history[-1]
    assert told.kind == "evidence"
    assert told.message == (
        "taken before the kill: Python stacks of 1 of 1 processes, 1 log lines, a look at 2 GPUs"
    )
    data = json.loads(json.dumps(told.data))
    assert data["processes"][0]["stack"] == CORE.stack
    assert data["lines"] == list(lines)
    assert data["gpus"][0]["utilization_ratio"] == 1.0


def test_evidence_of_a_run_that_is_gone_by_now_is_kept_all_the_same() -> None:
    host, _ = serving()
    host.observe(EvidenceTaken(host.now, "vllm", "an earlier run", (), (), "py-spy hung"))
    assert "py-spy hung" in host.history[-1].message


@given(
    texts=st.lists(st.text(max_size=200).map(lambda text: text * 400), max_size=90),
    lines=st.lists(st.text(max_size=500), max_size=20),
)
def test_evidence_fits_into_the_history_whatever_it_holds(
    texts: list[str], lines: list[str]
) -> None:
    processes = tuple(replace(CORE, stack=text, name=text) for text in texts)
    taken = EvidenceTaken(0.0, "vllm", "run", processes, tuple(lines), "")
    gpus: list[Mapping[str, object]] = [
        {"index": n, "processes": [[pid, "x" * 15, 1] for pid in range(9)]} for n in range(16)
    ]
    assert len(json.dumps(bounded(taken, gpus))) <= MOST_CHARACTERS


def test_processes_that_are_gone_and_a_missing_py_spy_are_no_failure(tmp_path: Path) -> None:
    action = TakeEvidence("vllm", "run", str(tmp_path / "bin/python"))
    taken = take_evidence(action, (2**22 + 1,), ("a line",), agent_clock())
    assert taken.processes == ()
    assert taken.lines == ("a line",)


def test_a_process_is_described_by_its_status() -> None:
    status = process_status(os.getpid())
    assert status is not None
    assert (status.pid, status.uid) == (os.getpid(), os.getuid())
    assert status.rss_bytes > 2**20


def test_the_watchdogs_dump_of_a_process_in_a_container_is_found_by_its_number_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "4300").mkdir()
    status = "Name:\tVLLM::EngineCor\nState:\tS (sleeping)\nUid:\t0\t0\t0\t0\nThreads:\t40\n"
    (tmp_path / "4300/status").write_text(f"{status}NSpid:\t4300\t21\n")
    monkeypatch.setattr("agent.host.vllm.process.PROC", tmp_path)
    (tmp_path / "VLLM_STACK_DUMP_for_engine_0_21.log").write_text("Thread 1: step")
    (tmp_path / "VLLM_STACK_DUMP_for_engine_0_4300.log").write_text("of another's process 4300")
    action = TakeEvidence("vllm", "run", str(tmp_path / "bin/python"), str(tmp_path))
    (seen,) = take_evidence(action, (4300,), (), agent_clock()).processes
    assert (seen.pid, seen.stack) == (4300, "Thread 1: step")


def test_only_a_py_spy_that_root_alone_can_replace_gets_a_capability(tmp_path: Path) -> None:
    program = tmp_path / "py-spy"
    program.touch(mode=0o755)
    link = tmp_path / "link"
    link.symlink_to(program)
    tmp_path.chmod(0o777)
    assert only_root_writes(Path("/bin/sh"))
    assert not only_root_writes(program)
    assert not only_root_writes(link)


def taken_port(holder: Listener) -> tuple[SimulatedHost, list[Action]]:
    host, done = serving()
    host.dies(F.PORT_IN_USE, status=1)
    host.carry_out()
    host.observe(PortSeen(host.now, "vllm", 8000, holder))
    return host, done


def test_a_stranger_on_the_port_is_named() -> None:
    host, done = taken_port(Listener(812, "nginx", "nginx.service"))
    assert LookAtPort("vllm", 8000) in done
    told = host.history[-1]
    assert told.kind == "port"
    assert told.message == (
        "process 812 (nginx) of nginx.service listens on port 8000: "
        "stop it, or change service.vllm.port"
    )
    host.dies(F.PORT_IN_USE, status=1)
    host.carry_out()
    host.observe(PortSeen(host.now, "vllm", 8000, Listener(812, "nginx", "")))
    assert host.service().phase is Phase.WAITING
    assert "process 812 (nginx) listens" in host.service().reason


def test_our_own_last_run_on_the_port_is_no_strangers_fault() -> None:
    host, _ = taken_port(Listener(4242, "python3", "vllm.service"))
    assert host.history[-1].message.endswith("of vllm.service listens on port 8000")


def test_a_log_that_is_concluded_twice_asks_once_who_listens() -> None:
    host, done = taken_port(Listener(812, "nginx", ""))
    s = host.service()
    assert s.failure is not None
    again = diagnosis_of(F.PORT_IN_USE, Numbers(port=8000), EnginePhase.SERVING)
    host.observe(LogConcluded(s.failure.at, "vllm", s.invocation_id, again))
    assert [type(action) for action in done].count(LookAtPort) == 1


def test_the_port_is_looked_at_for_no_other_failure() -> None:
    host, done = serving()
    host.dies(F.ENGINE_DEAD)
    host.carry_out()
    assert not [action for action in done if isinstance(action, LookAtPort)]
