# SPDX-License-Identifier: Apache-2.0
"""Real files are read into the page cache, as far as memory allows, until the reading is ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from agent.core.state.start.ahead import FilesRead
from agent.host.machine.page_cache import resident_bytes, resident_spans
from agent.tasks.ahead.listed import Listed, write_list
from agent.tasks.ahead.reading import ENDED, LEAST_BYTES, SHORT, read_ahead
from tests.rig.paths import REPO
from tests.unit.tasks.ahead.test_listed import MIB, evicted, made

PLENTY = (64 << 30, 128 << 30)


def whole(*files: Path) -> list[Listed]:
    return [Listed(str(file), ((0, file.stat().st_size),)) for file in files]


def in_memory(file: Path) -> int:
    with file.open("rb") as stream:
        return resident_bytes(stream.fileno(), ((0, file.stat().st_size),))


def read(files: list[Listed], memory: tuple[int, int] = PLENTY) -> FilesRead:
    return read_ahead(files, lambda: memory, threading.Event())


def test_what_is_not_in_memory_is_read_and_the_share_that_was_there_is_told(
    tmp_path: Path,
) -> None:
    there, gone = made(tmp_path / "a", 3 * MIB), evicted(made(tmp_path / "b", 9 * MIB))
    assert in_memory(gone) == 0
    report = read(whole(there, gone))
    assert report == FilesRead(2, 12 * MIB, 3 * MIB, 9 * MIB)
    assert in_memory(gone) == 9 * MIB


def test_only_the_parts_that_are_listed_are_read(tmp_path: Path) -> None:
    file = evicted(made(tmp_path / "a", 64 * MIB))
    report = read([Listed(str(file), ((8 * MIB, 2 * MIB), (60 * MIB, MIB)))])
    assert report.read_bytes == 3 * MIB
    assert 3 * MIB <= in_memory(file) < 16 * MIB
    with file.open("rb") as stream:
        assert sum(length for _, length in resident_spans(stream.fileno())) >= 3 * MIB


def test_files_that_are_gone_or_have_shrunk_are_no_fault(tmp_path: Path) -> None:
    short = evicted(made(tmp_path / "short", MIB))
    files = [Listed(str(tmp_path / "gone"), ((0, MIB),)), Listed(str(short), ((0, 5 * MIB),))]
    report = read(files)
    assert (report.files, report.read_bytes) == (1, MIB)


def test_nothing_is_read_that_memory_has_no_room_for(tmp_path: Path) -> None:
    files = [evicted(made(tmp_path / name, MIB)) for name in ("a", "b", "c")]
    room_for_two = (LEAST_BYTES + 2 * MIB, 4 << 30)
    report = read(whole(*files), room_for_two)
    assert (report.read_bytes, report.stopped) == (2 * MIB, SHORT)
    assert [in_memory(file) for file in files] == [MIB, MIB, 0]


def test_a_tenth_of_a_large_memory_stays_available(tmp_path: Path) -> None:
    file = evicted(made(tmp_path / "a", MIB))
    report = read(whole(file), (100 << 30, 1000 << 30))
    assert (report.read_bytes, report.stopped, in_memory(file)) == (0, SHORT, 0)


def test_memory_that_becomes_short_meanwhile_ends_the_reading(tmp_path: Path) -> None:
    files = [evicted(made(tmp_path / str(n), 8192)) for n in range(50)]
    looks = iter([PLENTY] * 10)
    report = read_ahead(
        whole(*files), lambda: next(looks, (LEAST_BYTES, 4 << 30)), threading.Event()
    )
    assert report.stopped == SHORT
    assert 0 < report.read_bytes < 50 * 8192


def test_an_ended_reading_tells_what_it_came_to(tmp_path: Path) -> None:
    file = evicted(made(tmp_path / "a", MIB))
    ended = threading.Event()
    ended.set()
    report = read_ahead(whole(file), lambda: PLENTY, ended)
    assert (report.read_bytes, report.stopped, in_memory(file)) == (0, ENDED, 0)


def program(*argv: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "agent.tasks.ahead", *argv],
        cwd=REPO,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_program_lists_and_reads_of_every_service_or_of_the_one_that_is_wanted(
    tmp_path: Path,
) -> None:
    model, lists = tmp_path / "model", tmp_path / "lists"
    weights = evicted(made(model / "model.safetensors", 4 * MIB))
    lists.mkdir()
    with program("take", "--model", model, str(os.getpid())) as take:
        listed, said = take.communicate(timeout=60)
    assert json.loads(said)["files"] == len(listed.splitlines()) > 1
    for name in ("vllm", "embed", "late.new"):
        (lists / name).write_text(listed)
    report, wanted = tmp_path / "report", tmp_path / "wanted"
    for want, told in (("", ["embed", "vllm"]), ("embed\n", ["embed"])):
        wanted.write_text(want)
        with program("read", "--wanted", wanted, lists, report) as reading:
            assert reading.wait(60) == 0
        found = [json.loads(line) for line in report.read_text().splitlines()]
        assert [one["service"] for one in found] == told
    assert in_memory(weights) == 4 * MIB


def test_sigterm_ends_the_program_and_its_report_is_written(tmp_path: Path) -> None:
    """A list so long that it cannot be through before the signal comes."""
    lists, report = tmp_path / "lists", tmp_path / "report"
    file = made(tmp_path / "file", 4096)
    lists.mkdir()
    with (lists / "vllm").open("w") as stream:
        write_list(whole(file) * 60_000, stream)
    with program("read", lists, report) as reading:
        while not report.exists():
            assert reading.poll() is None
        reading.send_signal(signal.SIGTERM)
        assert reading.wait(60) == 0
    (told,) = (json.loads(line) for line in report.read_text().splitlines())
    assert told["stopped"] == ENDED
