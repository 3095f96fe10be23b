# SPDX-License-Identifier: Apache-2.0
"""Counts the modules of an engine that have no valid bytecode: files are read, nothing is run.

A .pyc is valid when its header has the source's time and size, or says that it is not to be
compared (PEP 552); its name has the tag of the interpreter that wrote it.
"""

from __future__ import annotations

import os
import pwd
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from agent.core.doctor.bytecode import OFF_TRACK, Bytecode
from agent.host.files.foreign import entries
from agent.host.probes.command import output_of

HEADER_BYTES = 16
HASHED = 1
"""The bit of the header's flags that says that a hash takes the place of time and size."""

FEWEST = 10
"""A package with fewer modules is not named: its bytecode saves nothing worth a word."""

NAMED = 6
"""So many packages are compiled by name; more, and all of the directory is."""

SECONDS = 1.2
"""How long to count; 21,000 modules take 0.5 s with the page cache, and doctor has 2.3 s."""


def bytecode(
    read_paths: Iterable[str],
    version: tuple[int, int],
    environment: Mapping[str, str],
    seconds: float = SECONDS,
) -> Bytecode:
    """Return what a start of an interpreter of this version finds in its package directories."""
    places = [Path(place) for place in read_paths if place.endswith("-packages")]
    places = [place for place in places if place.is_dir()]
    tag, end = f"cpython-{version[0]}{version[1]}", time.monotonic() + seconds
    modules: Counter[str] = Counter()
    without: Counter[str] = Counter()
    whole = True
    for package, source, kept in _modules(places, tag):
        if time.monotonic() > end:
            whole = False
            break
        modules[package] += 1
        without[package] += not _is_valid(source, kept)
    lacking = [
        (package, count)
        for package, count in without.most_common()
        if modules[package] >= FEWEST and 2 * count > modules[package]
    ]
    return Bytecode(
        modules=modules.total(),
        without=without.total(),
        lacking=tuple(lacking),
        directories=tuple(map(str, _directories(places, [package for package, _ in lacking]))),
        owner=_owner(places),
        whole=whole,
        variables=tuple(name for name in OFF_TRACK if _is_on(name, environment.get(name, ""))),
    )


def _directories(places: list[Path], lacking: list[str]) -> list[Path]:
    if len(lacking) > NAMED:
        return places
    return [path for place in places for name in lacking if (path := place / name).is_dir()]


def unit_environment(unit: str) -> dict[str, str]:
    """Return what the unit has in Environment=, drop-ins included; empty where it is not loaded.

    Only names and plain values are read: a quoted value comes without its quotes.
    """
    said = output_of("systemctl", "show", unit, "--property=Environment", "--value") or ""
    words = re.findall(r'"([A-Z_][A-Z0-9_]{0,100}=[^"]*)"|([A-Z_][A-Z0-9_]{0,100}=\S*)', said)
    pairs = ((quoted or plain).partition("=") for quoted, plain in words)
    return {name: value for name, _, value in pairs}


def _is_on(name: str, value: str) -> bool:
    """Tell whether Python takes the variable: PYTHONOPTIMIZE=0 is as none."""
    return bool(value) and not (name != "PYTHONPYCACHEPREFIX" and value.strip() == "0")


def _modules(places: list[Path], tag: str) -> Iterator[tuple[str, os.DirEntry[str], str]]:
    """Give each module with its package and the path of its bytecode, "" where there is none."""
    for place in places:
        for top in sorted(entries(place), key=lambda entry: entry.name):
            if top.is_dir(follow_symlinks=False) and top.name != "__pycache__":
                for source, kept in _below(top.path, tag):
                    yield top.name, source, kept


def _below(directory: str, tag: str) -> Iterator[tuple[os.DirEntry[str], str]]:
    waiting = [directory]
    while waiting:
        here = waiting.pop()
        sources: list[os.DirEntry[str]] = []
        kept: set[str] = set()
        try:
            found = list(entries(here))
        except OSError:
            continue
        for entry in found:
            if entry.name.endswith(".py"):
                sources.append(entry)
            elif entry.name == "__pycache__":
                kept = _names(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
        for source in sources:
            name = f"{source.name[:-3]}.{tag}.pyc"
            yield source, f"{here}/__pycache__/{name}" if name in kept else ""


def _names(directory: str) -> set[str]:
    try:
        return {entry.name for entry in entries(directory)}
    except OSError:
        return set()


def _is_valid(source: os.DirEntry[str], kept: str) -> bool:
    if not kept:
        return False
    try:
        with open(kept, "rb", buffering=0) as file:  # noqa: PTH123 - 21,000 times
            head = file.read(HEADER_BYTES)
        info = source.stat()
    except OSError:
        return False
    if len(head) < HEADER_BYTES:
        return False
    flags, written, size = (int.from_bytes(head[at : at + 4], "little") for at in (4, 8, 12))
    if flags & HASHED:
        return True
    return written == int(info.st_mtime) & 0xFFFFFFFF and size == info.st_size & 0xFFFFFFFF


def _owner(places: list[Path]) -> str:
    """Return who owns the first directory, by number where the name is not known."""
    if not places:
        return "root"
    uid = places[0].stat().st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"'#{uid}'"
