# SPDX-License-Identifier: Apache-2.0
"""Whatever stands where the operator named a file, its reader says so in one error and goes on."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.config.agent_toml import load
from agent.errors import AgentError
from agent.host.files import own
from agent.host.files.own import read_own
from agent.host.vllm.config_file import read_options_file
from agent.host.web.config_file import read_web_config
from agent.host.web.peer import credentials_of
from agent.tasks.fleet.ask_hosts import named_in

READERS: dict[str, Callable[[Path], object]] = {
    "agent.toml": load,
    "web config": read_web_config,
    "options of vLLM": lambda file: read_options_file(str(file)),
    "password": lambda file: credentials_of("me", str(file), None),
    "hosts": lambda file: list(named_in(file)),
}


def a_fifo(file: Path) -> None:
    os.mkfifo(file)


def a_directory(file: Path) -> None:
    file.mkdir()


def a_device_without_end(file: Path) -> None:
    file.symlink_to("/dev/zero")


def a_terabyte_of_nothing(file: Path) -> None:
    file.touch()
    os.truncate(file, 1 << 40)


def a_link_to_itself(file: Path) -> None:
    file.symlink_to(file)


def a_file(file: Path) -> None:
    file.write_bytes(b"x" * 5000)


def nothing(file: Path) -> None:
    assert not file.exists()


ODD = (a_fifo, a_directory, a_device_without_end, a_terabyte_of_nothing, a_link_to_itself, nothing)


@pytest.fixture(autouse=True)
def _nobody_waits_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "WAIT_SECONDS", 0.05)


@pytest.mark.parametrize("make", ODD)
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_such_file_is_one_clear_error(
    name: str, make: Callable[[Path], None], tmp_path: Path
) -> None:
    file = tmp_path / "named"
    make(file)
    with pytest.raises(AgentError) as told:
        READERS[name](file)
    assert str(file) in str(told.value)
    assert "Traceback" not in str(told.value)


def test_a_file_that_another_one_takes_the_place_of_is_read_or_refused(tmp_path: Path) -> None:
    file, over = tmp_path / "named", threading.Event()

    def changes() -> None:
        makes = (a_fifo, a_directory, a_terabyte_of_nothing, a_file)
        while not over.is_set():
            for number, make in enumerate(makes):
                other = tmp_path / f"other-{number}"
                make(other)
                if file.is_dir():
                    file.rmdir()
                if other.is_dir():
                    file.unlink(missing_ok=True)
                other.replace(file)

    thread = threading.Thread(target=changes)
    thread.start()
    try:
        for _ in range(300):
            with contextlib.suppress(OSError):
                assert read_own(file, 1 << 16) == b"x" * 5000
    finally:
        over.set()
        thread.join(20)


def test_a_file_that_is_cut_off_while_it_is_read_is_as_long_as_it_was_then(tmp_path: Path) -> None:
    file = tmp_path / "named"
    file.write_bytes(b"a" * 5000)
    assert read_own(file, 5000) == b"a" * 5000
    with pytest.raises(OSError, match="larger than"):
        read_own(file, 4999)


def test_what_comes_by_a_pipe_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "pipe"
    os.mkfifo(file)

    def writes() -> None:
        file.write_bytes(b"z" * 200_000)

    thread = threading.Thread(target=writes)
    thread.start()
    while True:
        try:
            content = read_own(file, 1 << 20)
        except OSError:
            continue  # the writer has not come yet
        if content:
            break
    thread.join(20)
    assert content == b"z" * 200_000
