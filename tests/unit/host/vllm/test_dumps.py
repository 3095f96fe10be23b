# SPDX-License-Identifier: Apache-2.0
"""The watchdog's dumps are evidence; what a stranger puts beside them is not read."""

from __future__ import annotations

import os
from pathlib import Path

from agent.core.state.actions import TakeEvidence
from agent.daemon.clock import agent_clock
from agent.daemon.effectors.evidence import take_evidence
from agent.host.vllm.stacks import MOST_BYTES, watchdog_dumps

STACK = 'Thread 0x7f (most recent call first):\n  File "core.py", line 1, in step\n'


def test_each_process_has_its_own_dump(tmp_path: Path) -> None:
    (tmp_path / "VLLM_STACK_DUMP_for_engine_0_41.log").write_text(STACK)
    (tmp_path / "VLLM_STACK_DUMP_for_worker_3_42.log").write_text(STACK + "worker")
    (tmp_path / "VLLM_STACK_DUMP_for_worker_3_99.log").write_text("of an earlier run")
    dumps = watchdog_dumps(str(tmp_path), (41, 42, 43))
    assert dumps == {41: STACK.strip(), 42: STACK + "worker"}


def test_of_a_long_file_the_end_is_read(tmp_path: Path) -> None:
    (tmp_path / "VLLM_STACK_DUMP_for_engine_0_41.log").write_text("x" * MOST_BYTES + "the last")
    (text,) = watchdog_dumps(str(tmp_path), (41,)).values()
    assert text.endswith("the last")
    assert len(text) == MOST_BYTES


def test_links_pipes_and_directories_are_left_alone(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root's own")
    (tmp_path / "VLLM_STACK_DUMP_for_engine_0_1.log").symlink_to(secret)
    os.mkfifo(tmp_path / "VLLM_STACK_DUMP_for_engine_0_2.log")
    (tmp_path / "VLLM_STACK_DUMP_for_engine_0_3.log").mkdir()
    assert watchdog_dumps(str(tmp_path), (1, 2, 3)) == {}
    assert watchdog_dumps(str(tmp_path / "nowhere"), (1,)) == {}


def test_a_dump_stands_for_the_stacks_that_nobody_else_can_take(tmp_path: Path) -> None:
    file = tmp_path / f"VLLM_STACK_DUMP_for_engine_0_{os.getpid()}.log"
    file.write_text(STACK)
    asked = TakeEvidence("vllm", "0" * 32, "/nowhere/bin/python", str(tmp_path))
    taken = take_evidence(asked, (os.getpid(),), (), agent_clock())
    (seen,) = taken.processes
    assert "in step" in seen.stack or seen.stack.startswith("Process ")
