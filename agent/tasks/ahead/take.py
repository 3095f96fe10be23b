# SPDX-License-Identifier: Apache-2.0
"""Finds out what a start of a service has read, from what its processes and the memory show.

Three sources, in the order in which a start wants them: files that its processes map or hold open;
files of its Python environment and caches that are in memory, among them the bytecode of each
module that was imported, which no process keeps open; and the weights, which vLLM closes once they
are on the card and may have let go of (0.33 does).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from agent.host.files.foreign import entries, files_below
from agent.host.machine.page_cache import resident_spans
from agent.tasks.ahead.listed import LONGEST_PATH, Listed, opened

MOST_NAMES: Final = 400_000
"""In all directories together."""

MOST_MAPS_BYTES: Final = 16 << 20
"""A process of vLLM has about 1 MiB of maps."""

_MAPPED = re.compile(r"^\S+ \S+ \S+ \S+ [1-9]\d* +(/\S.*)$", re.MULTILINE)
"""A line of /proc/PID/maps of a file, which has an inode (proc_pid_maps(5))."""

_GONE = " (deleted)"
_NO_FILES = ("/dev/", "/proc/", "/sys/", "/run/", "/memfd:", "/SYSV")

WEIGHTS: Final = (".safetensors", ".bin", ".pt", ".gguf")
"""By preference: vLLM loads the first kind that is there."""

NOT_LOADED: Final = ("consolidated", "training_args", "optimizer", "scheduler")


def what_a_start_reads(
    pids: Iterable[int], roots: Iterable[str], models: Iterable[str], proc: Path = Path("/proc")
) -> Iterator[Listed]:
    """Give each file once: of processes, of `roots` what is in memory, of `models` the weights."""
    seen: set[tuple[int, int]] = set()
    for path in of_processes(pids, proc):
        yield from _in_memory(path, seen)
    for path in _below(roots):
        yield from _in_memory(path, seen)
    for model in models:
        for path in weights_of(model):
            yield from _whole(path, seen)


def of_processes(pids: Iterable[int], proc: Path) -> Iterator[str]:
    """Give the paths of regular files that processes map or have open, some of them often."""
    for pid in pids:
        try:
            with (proc / str(pid) / "maps").open(errors="surrogateescape") as maps:
                text = maps.read(MOST_MAPS_BYTES)
        except OSError:
            continue
        found = {path for path in _MAPPED.findall(text) if not path.endswith(_GONE)}
        yield from sorted(path for path in found if not path.startswith(_NO_FILES))
        yield from _open_files(proc / str(pid) / "fd")


def _open_files(directory: Path) -> Iterator[str]:
    try:
        links = [*directory.iterdir()]
    except OSError:
        return
    for link in links:
        try:
            path = os.readlink(link)  # noqa: PTH115 - what it says may be no path of a file
        except OSError:
            continue
        if path.startswith("/") and not path.endswith(_GONE) and not path.startswith(_NO_FILES):
            yield path


def weights_of(model: str) -> list[str]:
    """Return the files of weights and of the tokenizer in a model's directory, in order."""
    try:
        names = sorted(entry.name for entry in entries(model))
    except OSError:
        return [model] if model.endswith(WEIGHTS) else []
    loaded = [name for name in names if not name.startswith(NOT_LOADED)]
    # Mistral's own format where there is no other.
    kinds = ([n for n in some if n.endswith(end)] for some in (loaded, names) for end in WEIGHTS)
    weights = next((found for found in kinds if found), [])
    small = [name for name in names if not name.endswith(WEIGHTS)]
    return [str(Path(model) / name) for name in (*small, *weights)]


def _below(roots: Iterable[str]) -> Iterator[str]:
    left = MOST_NAMES
    for root in roots:
        for entry in files_below(root, left):
            left -= 1
            yield entry.path


def _in_memory(path: str, seen: set[tuple[int, int]]) -> Iterator[Listed]:
    descriptor = _opened_once(path, seen)
    if descriptor is None:
        return
    try:
        spans = resident_spans(descriptor)
    except OSError:
        return
    finally:
        os.close(descriptor)
    if spans:
        yield Listed(path, tuple(spans))


def _whole(path: str, seen: set[tuple[int, int]]) -> Iterator[Listed]:
    descriptor = _opened_once(path, seen)
    if descriptor is None:
        return
    size = os.fstat(descriptor).st_size
    os.close(descriptor)
    if size:
        yield Listed(path, ((0, size),))


def _opened_once(path: str, seen: set[tuple[int, int]]) -> int | None:
    if len(path) > LONGEST_PATH:
        return None
    descriptor = opened(path)
    if descriptor is None:
        return None
    facts = os.fstat(descriptor)
    identity = (facts.st_dev, facts.st_ino)
    if identity in seen:
        os.close(descriptor)
        return None
    seen.add(identity)
    return descriptor
