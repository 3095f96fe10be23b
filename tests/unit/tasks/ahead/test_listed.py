# SPDX-License-Identifier: Apache-2.0
"""What a start reads, as the kernel tells it of real files and a real process."""

from __future__ import annotations

import io
import json
import mmap
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.tasks.ahead.listed import MOST_FILES, Listed, opened, read_list, write_list
from agent.tasks.ahead.take import of_processes, weights_of, what_a_start_reads

MIB = 1 << 20


def made(file: Path, size: int = MIB) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(os.urandom(size))
    return file


def evicted(file: Path) -> Path:
    """Lets the kernel forget a file's pages, which it does once they are on the disk."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return file


def test_files_that_a_process_maps_or_holds_open_are_found(tmp_path: Path) -> None:
    mapped, held, other = (made(tmp_path / name) for name in ("lib.so", "shard", "other"))
    with (
        mapped.open("rb") as library,
        held.open("rb"),
        mmap.mmap(library.fileno(), 0, access=mmap.ACCESS_READ),
    ):
        found = [*of_processes([os.getpid()], Path("/proc"))]
    assert {str(mapped), str(held)} <= {*found}
    assert str(other) not in found
    assert not any(path.startswith(("/dev/", "/proc/")) for path in found)


def test_a_process_that_is_gone_has_no_files() -> None:
    assert list(of_processes([2**22 + 1], Path("/proc"))) == []


def test_what_was_read_of_the_environment_is_told_from_what_was_not(tmp_path: Path) -> None:
    read, unread = made(tmp_path / "lib/a.pyc"), evicted(made(tmp_path / "lib/b.pyc"))
    found = {one.path: one for one in what_a_start_reads([], [str(tmp_path)], [])}
    assert found[str(read)].spans == ((0, MIB),)
    assert str(unread) not in found


def test_of_a_large_library_only_what_is_used_is_listed(tmp_path: Path) -> None:
    library = evicted(made(tmp_path / "libtorch.so", 64 * MIB))
    with library.open("rb") as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(stream.fileno(), 4096, 40 * MIB + 5)
    (one,) = what_a_start_reads([], [str(tmp_path)], [])
    assert any(begin <= 40 * MIB < begin + length for begin, length in one.spans)
    assert one.size_bytes < 8 * MIB


def test_a_file_counts_once_however_it_is_reached(tmp_path: Path) -> None:
    blob = made(tmp_path / "blobs/0a1b")
    snapshot = tmp_path / "snapshots/main"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to(blob)
    found = [*what_a_start_reads([], [str(blob.parent)], [str(snapshot)])]
    assert [one.size_bytes for one in found] == [MIB]


@pytest.mark.parametrize(
    ("names", "weights"),
    [
        (("model-1.safetensors", "model-2.safetensors", "pytorch_model.bin"), 2),
        (("pytorch_model.bin", "training_args.bin", "optimizer.bin"), 1),
        (("model.safetensors", "consolidated.safetensors"), 1),
        (("consolidated.safetensors", "params.json"), 1),
        (("llama.gguf",), 1),
        (("config.json",), 0),
    ],
)
def test_of_a_model_the_weights_that_vllm_loads_are_wanted_though_they_are_not_in_memory(
    tmp_path: Path, names: tuple[str, ...], weights: int
) -> None:
    for name in names:
        evicted(made(tmp_path / name, 8192))
    found = [Path(path).name for path in weights_of(str(tmp_path))]
    assert len([name for name in found if not name.endswith(".json")]) == weights
    assert len([*what_a_start_reads([], [], [str(tmp_path)])]) == len(found)


def test_a_model_that_is_gone_has_no_weights(tmp_path: Path) -> None:
    assert weights_of(str(tmp_path / "nothing")) == []
    assert weights_of(str(made(tmp_path / "one.gguf"))) == [str(tmp_path / "one.gguf")]


def test_nothing_but_a_regular_file_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for name in ("pipe", "link", ".", "nothing"):
        assert opened(str(tmp_path / name)) is None
    assert opened("/dev/zero") is None
    descriptor = opened(str(made(tmp_path / "file")))
    assert descriptor is not None
    assert stat.S_ISREG(os.fstat(descriptor).st_mode)
    os.close(descriptor)


def test_looking_at_a_file_leaves_no_trace_in_its_time_of_use(tmp_path: Path) -> None:
    """By that time compiled code is removed that no start has used for long."""
    file = made(tmp_path / "file")
    os.utime(file, (1000.0, 2000.0))
    [*what_a_start_reads([], [str(tmp_path)], [])]
    assert file.stat().st_atime == 1000.0


spans = st.tuples(st.integers(0, 2**50), st.integers(1, 2**50))
listed = st.builds(
    Listed,
    st.text(min_size=1, max_size=50).map(lambda name: "/" + name.replace("\0", "")),
    st.lists(spans, min_size=1, max_size=5).map(tuple),
)


@given(st.lists(listed, max_size=20))
def test_a_list_is_read_as_it_was_written(files: list[Listed]) -> None:
    kept = io.StringIO()
    assert write_list(files, kept) == (len(files), sum(one.size_bytes for one in files))
    kept.seek(0)
    assert [*read_list(kept)] == files


@given(st.text())
def test_a_list_that_is_none_names_no_file_but_absolute_ones(text: str) -> None:
    assert all(one.path.startswith("/") for one in read_list(io.StringIO(text)))


@pytest.mark.parametrize(
    "line",
    [
        '["relative", [0, 1]]',
        '["/a", [0, 0]]',
        '["/a", [-1, 5]]',
        '["/a", 5]',
        '["/a\\u0000b", [0, 1]]',
        "{}",
        "[]",
        "[" * 5000,
        json.dumps(["/" + "a" * 20_000, [0, 1]]),
    ],
)
def test_a_damaged_line_costs_itself_alone(line: str) -> None:
    good = Listed("/a", ((0, 1),))
    text = f'{line}\n["/a", [0, 1]]\n'
    found = [*read_list(io.StringIO(text))]
    assert found == [good]


def test_a_list_is_bounded() -> None:
    kept = io.StringIO()
    many = (Listed(f"/{n}", ((0, 1),)) for n in range(MOST_FILES + 10))
    assert write_list(many, kept) == (MOST_FILES, MOST_FILES)
