# SPDX-License-Identifier: Apache-2.0
"""Who waits for `systemctl reload` is told at the terminal; nobody else is written to."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from agent.host.systemd.waiting import RELOADING, tell_who_waits

UNIT = "llmagent-waiting-test.service"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root's systemctls are told")


@contextmanager
def waits(*words: str, stderr: int) -> Iterator[None]:
    """A program that systemctl's command line is shown of, which waits for its standard input."""
    argv = ["systemctl", "-", *words]
    process = subprocess.Popen(
        argv, executable="/bin/cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
    )
    assert process.stdin is not None
    assert process.stdout is not None
    # A program that answers has its own command line; one that has just begun may have none yet.
    process.stdin.write(b"\n")
    process.stdin.flush()
    process.stdout.readline()
    try:
        yield
    finally:
        process.kill()
        process.communicate()


def tell() -> int:
    return tell_who_waits(UNIT, RELOADING, "it is so\nand so")


@pytest.mark.parametrize(
    "words", [("reload", UNIT), ("reload-or-restart", "cron", UNIT.removesuffix(".service"))]
)
def test_a_terminal_reads_the_words(words: tuple[str, ...]) -> None:
    ours, theirs = os.openpty()
    with waits(*words, stderr=theirs):
        assert tell() == 1
    os.close(theirs)
    assert os.read(ours, 100).replace(b"\r", b"") == b"it is so\nand so\n"
    os.close(ours)


def test_a_pipe_that_is_full_is_not_waited_for() -> None:
    ours, theirs = os.pipe()
    with waits("reload", UNIT, stderr=theirs):
        assert tell() == 1
        assert os.read(ours, 100) == b"it is so\nand so\n"
        os.set_blocking(theirs, False)
        with suppress(BlockingIOError):
            while os.write(theirs, bytes(65536)):
                pass
        assert tell() == 0
    os.close(theirs)
    os.close(ours)


@pytest.mark.parametrize("words", [("reload", "cron"), ("status", UNIT), (UNIT,)])
def test_who_asks_for_something_else_is_left_alone(words: tuple[str, ...]) -> None:
    ours, theirs = os.pipe()
    with waits(*words, stderr=theirs):
        assert tell() == 0
    os.close(theirs)
    assert b"it is so" not in os.read(ours, 100)
    os.close(ours)


def test_a_file_is_not_written_into(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file, waits("reload", UNIT, stderr=file.fileno()):
        assert tell() == 0
    assert b"it is so" not in (tmp_path / "log").read_bytes()
