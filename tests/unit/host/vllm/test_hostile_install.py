# SPDX-License-Identifier: Apache-2.0
"""A virtual environment belongs to whoever made it: whatever lies in it, the look at it ends.

It ends with what is known or with a sentence, in an instant and in little memory, and of one
service only.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.config.agent_toml import parse
from agent.daemon.policy_loader import policy_of
from agent.host.machine.reading_mark import ReadingMark
from agent.host.vllm.install import inspect

METADATA = "lib/python3.12/site-packages/vllm-0.32.0.dist-info/METADATA"
ENDLESS = 1 << 40
MEMORY_BYTES = 1 << 30


def a_fifo(file: Path) -> None:
    os.mkfifo(file)


def a_directory(file: Path) -> None:
    file.mkdir()


def a_link_to_itself(file: Path) -> None:
    file.symlink_to(file.name)


def a_device_without_end(file: Path) -> None:
    file.symlink_to("/dev/zero")


def a_terabyte(file: Path) -> None:
    file.touch()
    os.truncate(file, ENDLESS)


def bytes_of_no_text(file: Path) -> None:
    file.write_bytes(b"Name: vllm\nVersion: \xff\xfe\x00\x1b[2J" + b"9" * 5000 + b"\n")


KINDS = (
    *(a_fifo, a_directory, a_link_to_itself),
    *(a_device_without_end, a_terabyte, bytes_of_no_text),
)
FILES = (
    *(METADATA, "pyvenv.cfg", "lib/python3.12/site-packages/more.pth"),
    "lib/python3.12/site-packages/vllm/_version.py",
)


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """What takes more ends as a MemoryError, and not this machine."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, before)


def environment(prefix: Path, *, known: bool = True) -> str:
    packages = prefix / "lib/python3.12/site-packages"
    (packages / "vllm").mkdir(parents=True)
    (packages / "vllm/__init__.py").touch()
    (prefix / "bin").mkdir()
    (prefix / "bin/python").symlink_to("/bin/true")
    (prefix / "pyvenv.cfg").write_text("home = /usr/bin\n")
    if known:
        (prefix / METADATA).parent.mkdir()
        (prefix / METADATA).write_text("Name: vllm\nVersion: 0.32.0\n\n")
    return str(prefix / "bin/python")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_what_lies_in_an_environment_holds_up_nobody(
    tmp_path: Path, make: Callable[[Path], None], name: str
) -> None:
    python = environment(tmp_path, known=not name.endswith("_version.py"))
    (tmp_path / name).unlink(missing_ok=True)
    make(tmp_path / name)
    found = inspect(python)
    for said in (found.version or "", *found.problems):
        assert said.isprintable()
        assert len(said) < 1000


def test_an_interpreter_that_is_a_link_to_itself_is_told(tmp_path: Path) -> None:
    (tmp_path / "python").symlink_to("python")
    (problem,) = inspect(str(tmp_path / "python")).problems
    assert "symbolic links" in problem


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_of_two_services_the_one_with_the_sound_environment_is_known(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    first, second = environment(tmp_path / "a"), environment(tmp_path / "b")
    (tmp_path / "a" / METADATA).unlink()
    make(tmp_path / "a" / METADATA)
    table = '[service.{}]\nmodel = "m/m"\nport = {}\npython = "{}"\ngpu_memory_utilization = 0.4\n'
    text = table.format("a", 8000, first) + table.format("b", 8001, second)
    policy = policy_of(parse(text, "agent.toml"), ReadingMark(tmp_path / "mark"))
    assert policy.engines["b"].version == "0.32.0"
