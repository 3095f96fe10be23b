# SPDX-License-Identifier: Apache-2.0
"""A directory of very many names costs no more than one of as many as are looked at."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.host.files.foreign import MOST_ENTRIES, entries, files_below
from agent.host.models.place import ModelPlace
from agent.tasks.ahead.take import weights_of

NAMES = MOST_ENTRIES + 5_000
FEW = 100


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("full")
    for number in range(NAMES):
        (directory / f"{number:0200}.safetensors").touch()
    return directory


def peak_bytes(call: Callable[[], object]) -> int:
    """Return the most memory that Python's objects took within the call."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("read", [entries, files_below])
def test_what_is_not_looked_at_takes_no_memory(
    full: Path, read: Callable[[Path, int], Iterator[object]]
) -> None:
    few = peak_bytes(lambda: sum(1 for _ in read(full, FEW)))
    assert peak_bytes(lambda: sum(1 for _ in read(full, NAMES))) < 3 * few
    assert peak_bytes(lambda: list(read(full, NAMES))) > 20 * few  # it would be seen
    assert sum(1 for _ in read(full, MOST_ENTRIES)) == MOST_ENTRIES


def test_all_readers_of_a_model_s_directory_end_at_the_same_number(full: Path) -> None:
    place = ModelPlace(full)
    assert len(place.names("*.safetensors")) == MOST_ENTRIES
    assert sum(1 for _ in place.all_files()) == MOST_ENTRIES
    assert len(weights_of(str(full))) == MOST_ENTRIES


def test_of_directories_within_each_other_all_entries_count(tmp_path: Path) -> None:
    here = tmp_path
    for depth in range(50):
        (here / "file").touch()
        (here / "link").symlink_to(tmp_path)
        here = here / f"{depth}"
        here.mkdir()
    assert sum(1 for _ in files_below(tmp_path)) == 100
    assert sum(1 for _ in files_below(tmp_path, 30)) <= 30
    assert list(files_below(tmp_path / "absent")) == []
