# SPDX-License-Identifier: Apache-2.0
"""A row of the store, or a run, that ends the process which reads it is left out by the next."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from agent.core.diagnosis.reader import Diagnosis, LogReader
from agent.core.failures.classes import Outcome
from agent.core.state.host import HostState
from agent.core.state.phases import Phase
from agent.core.state.service import ServiceState
from agent.daemon.recorder import Recorder
from agent.daemon.sources.journal import judged
from agent.host.data.signatures import load_signatures
from agent.host.machine.line_mark import RUN, LineMark
from agent.host.store.store import Store
from tests.rig.paths import REPO

LOAD_AND_DIE = """
import os, signal, sys
from pathlib import Path
from agent.daemon.recorder import Recorder
from agent.host.machine.line_mark import LineMark
from agent.host.store.store import Store
class DeadlyMark(LineMark):
    def reads(self, line):
        super().reads(line)
        if line.startswith("service:vllm"):
            os.kill(os.getpid(), signal.SIGKILL)
store, _ = Store.open(Path(sys.argv[1]))
Recorder(store, "", DeadlyMark(Path(sys.argv[2]))).load()
"""
TWO = {
    "vllm": ServiceState("vllm", Phase.SERVING, 9.0),
    "embed": ServiceState("embed", Phase.STOPPED, 9.0),
}


def remember(file: Path, services: dict[str, ServiceState]) -> None:
    store, _ = Store.open(file)
    with store:
        Recorder(store).record(HostState(), HostState("boot", 3, services), [], 9.0)


def die_of_it(store: Path, mark: Path) -> None:
    argv = [sys.executable, "-c", LOAD_AND_DIE, str(store), str(mark)]
    done = subprocess.run(argv, cwd=REPO, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL


def load(file: Path, mark: Path) -> tuple[HostState, tuple[str, ...]]:
    store, _ = Store.open(file)
    with store:
        return Recorder(store, "", LineMark(mark)).load()


def test_the_next_process_leaves_it_out_and_keeps_all_the_others(tmp_path: Path) -> None:
    file, mark = tmp_path / "store", tmp_path / "row"
    remember(file, TWO)
    die_of_it(file, mark)
    for _ in ("the next process", "and the one after it"):
        state, problems = load(file, mark)
        assert set(state.services) == {"embed"}
        (problem,) = problems
        assert problem.startswith("what was remembered as service:vllm was being read when")


def test_a_row_that_was_written_anew_is_read_again(tmp_path: Path) -> None:
    file, mark = tmp_path / "store", tmp_path / "row"
    remember(file, TWO)
    die_of_it(file, mark)
    remember(file, {"vllm": ServiceState("vllm", Phase.STOPPED, 12.0)})
    state, problems = load(file, mark)
    assert (state.services["vllm"].phase, problems) == (Phase.STOPPED, ())


def test_rows_that_are_read_well_leave_no_mark(tmp_path: Path) -> None:
    file, mark = tmp_path / "store", tmp_path / "row"
    remember(file, TWO)
    for _ in range(2):
        assert load(file, mark) == load(file, tmp_path / "another")


def test_a_run_that_ended_a_process_as_it_was_judged_is_not_judged_again(tmp_path: Path) -> None:
    reader = LogReader(load_signatures())
    reader.feed("vllm: error: unrecognized arguments: --odd")
    mark = LineMark(tmp_path / "mark")
    assert judged(reader, "4f1c", mark).outcome is Outcome.FAILED
    assert LineMark(tmp_path / "mark").known == frozenset()
    mark.reads(f"{RUN}4f1c")  # and there the process died
    after = LineMark(tmp_path / "mark")
    assert judged(reader, "4f1c", after) == Diagnosis()
    assert judged(reader, "99aa", after).outcome is Outcome.FAILED
