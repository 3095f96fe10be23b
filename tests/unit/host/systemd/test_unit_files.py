# SPDX-License-Identifier: Apache-2.0
"""A unit file is whole at every moment, and untouched when nothing changes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import HostLacksError
from agent.host.systemd.unit_files import write_if_changed

TEXT = "[Service]\nExecStart=/bin/true\n"


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_a_new_file_is_written_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "vllm.service"
    assert write_if_changed(path, TEXT)
    assert path.read_text() == TEXT
    assert mode_of(path) == 0o644


def test_the_same_text_again_touches_nothing(tmp_path: Path) -> None:
    path = tmp_path / "vllm.service"
    write_if_changed(path, TEXT)
    before = path.stat()
    assert not write_if_changed(path, TEXT)
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_another_mode_counts_as_a_change(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_if_changed(path, TEXT, 0o644)
    assert write_if_changed(path, TEXT, 0o600)
    assert mode_of(path) == 0o600


def test_a_link_is_replaced_by_a_file_and_its_target_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text(TEXT)
    path = tmp_path / "vllm.service"
    path.symlink_to(target)
    assert write_if_changed(path, TEXT)
    assert not path.is_symlink()
    assert target.read_text() == TEXT


@given(old=st.text(max_size=50), new=st.text(max_size=50))
def test_the_file_holds_the_text_and_only_a_change_is_told(
    tmp_path_factory: pytest.TempPathFactory, old: str, new: str
) -> None:
    path = tmp_path_factory.mktemp("units") / "vllm.service"
    assert write_if_changed(path, old)
    assert write_if_changed(path, new) == (old != new)
    assert path.read_bytes() == new.encode()
    assert list(path.parent.iterdir()) == [path]


def test_a_reader_with_the_old_file_open_goes_on_reading_the_old_text(tmp_path: Path) -> None:
    path = tmp_path / "vllm.service"
    write_if_changed(path, "old\n")
    with path.open() as reader:
        write_if_changed(path, "new\n")
        assert reader.read() == "old\n"


def test_an_absent_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostLacksError, match=r"Make the directory .*absent"):
        write_if_changed(tmp_path / "absent" / "vllm.service", TEXT)


def test_a_directory_in_its_place_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "vllm.service"
    path.mkdir()
    with pytest.raises(HostLacksError, match=r"cannot write .*vllm\.service"):
        write_if_changed(path, TEXT)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_leaves_the_old_text_and_no_rest(small_disk: Path) -> None:
    path = small_disk / "vllm.service"
    write_if_changed(path, TEXT)
    with pytest.raises(HostLacksError, match="Free space on the file system of"):
        write_if_changed(path, "x" * 200_000)
    assert path.read_text() == TEXT
    assert list(small_disk.iterdir()) == [path]


def test_a_read_only_disk_leaves_the_old_text(small_disk: Path) -> None:
    path = small_disk / "vllm.service"
    write_if_changed(path, TEXT)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(HostLacksError, match="read-only"):
        write_if_changed(path, "new")
    assert path.read_text() == TEXT
