# SPDX-License-Identifier: Apache-2.0
"""The line that ended one process is known to the next, and no other line is taken for it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.host.machine.line_mark import MOST_KNOWN, PLACE_BYTES, RUN, LineMark, LineMarks
from tests.rig.paths import REPO

READ_AND_HANG = """
import sys, time
from pathlib import Path
from agent.host.machine.line_mark import LineMarks
mark = LineMarks(Path(sys.argv[1])).of("journal:vllm")
for line in sys.argv[2:]:
    mark.reads(line)
print("reads", flush=True)
time.sleep(60)
"""


def killed_while_it_read(directory: Path, *lines: str) -> None:
    """Has another process read the lines; it is killed with the last one."""
    argv = [sys.executable, "-c", READ_AND_HANG, str(directory), *lines]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=REPO)
    assert process.stdout is not None
    assert process.stdout.readline() == "reads\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_the_line_that_a_killed_process_was_reading_is_known_to_all_that_follow(
    tmp_path: Path,
) -> None:
    killed_while_it_read(tmp_path, "s=1;i=1", "s=1;i=2")
    second = LineMarks(tmp_path)
    assert second.left() == {"journal:vllm": "s=1;i=2"}
    (told,) = second.told()
    assert "ended while it read a line (journal:vllm)" in told
    assert "`journalctl -n 1 --cursor='s=1;i=2'` shows it" in told
    assert second.of("journal:vllm").known == {"s=1;i=2"}
    killed_while_it_read(tmp_path, "s=1;i=7")
    third = LineMarks(tmp_path)
    assert third.left() == {"journal:vllm": "s=1;i=7"}, "told once each"
    assert third.of("journal:vllm").known == {"s=1;i=2", "s=1;i=7"}
    fourth = LineMarks(tmp_path)
    assert fourth.left() == {}
    assert fourth.of("journal:vllm").known == {"s=1;i=2", "s=1;i=7"}
    assert fourth.of("kernel-log").known == frozenset()


def test_what_was_read_well_leaves_no_mark(tmp_path: Path) -> None:
    mark = LineMark(tmp_path / "mark")
    mark.reads("a line")
    mark.has_read()
    assert LineMark(tmp_path / "mark").known == frozenset()


def test_a_process_that_ends_in_order_leaves_no_mark_whatever_its_threads_still_read(
    tmp_path: Path,
) -> None:
    marks = LineMarks(tmp_path)
    marks.of("journal:vllm").reads("a line")
    marks.release()
    marks.of("journal:vllm").reads("the next line")
    assert LineMarks(tmp_path).left() == {}


def test_a_mark_that_cannot_be_written_stops_no_reading(tmp_path: Path) -> None:
    for mark in (LineMark(), LineMark(tmp_path / "no/such/place"), LineMark(tmp_path)):
        mark.reads("a line")
        mark.has_read()
        mark.release()
        assert mark.known == frozenset()
    (tmp_path / "file").write_text("")
    assert LineMarks(tmp_path / "file").left() == {}


def test_a_link_in_place_of_a_mark_is_not_written_through(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / "marks").mkdir()
    (tmp_path / "marks/kernel-log").symlink_to(precious)
    LineMarks(tmp_path / "marks").of("kernel-log").reads("a line")
    assert precious.read_text() == "kept"


@given(content=st.binary(max_size=PLACE_BYTES * (MOST_KNOWN + 3)))
def test_whatever_a_mark_holds_it_is_taken_up_and_stays_bounded(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    directory = tmp_path_factory.mktemp("mark")
    file = directory / "mark"
    file.write_bytes(content)
    mark = LineMark(file)
    assert len(mark.known) <= MOST_KNOWN
    mark.reads("a line")
    assert file.stat().st_size <= PLACE_BYTES * (MOST_KNOWN + 3)
    assert "a line" in LineMark(file).known


def test_a_run_that_was_judged_is_told_by_its_invocation(tmp_path: Path) -> None:
    killed_while_it_read(tmp_path, "s=1;i=1", f"{RUN}4f1c")
    (told,) = LineMarks(tmp_path).told()
    assert "ended while it judged the end of a run (journal:vllm)" in told
    assert "`journalctl _SYSTEMD_INVOCATION_ID=4f1c` shows it" in told
