# SPDX-License-Identifier: Apache-2.0
"""Python source of published packages: fetched once with pip, kept as one zip a release.

The zips lie outside the repository, beside what tests/rig/setup makes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

STUB = Path(__file__).parent / "metadata_only"
"""A build backend that lets `pip download` take an sdist without running anything of it."""

SIZE_LIMIT = 2_000_000
"""Bytes of one file above which it is a table, not code."""

SUFFIXES = frozenset({".py", ".cu", ".cuh", ".cpp", ".h", ".hpp"})
NOT_RUN = frozenset({"tests", "docs", "examples", "benchmarks", "recipes", "tools", "rust"})
"""First folders of an sdist that never run in a server."""


def cache() -> Path:
    """Return the folder of the zips; the rule is that of tests/rig/setup."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("LLMAGENT_CACHE") or Path(base) / "llmagent") / "catalogue"


def fetched(name: str, version: str, *, wheel: bool = False) -> Path:
    """Return the zip of a package's Python and C++ sources, fetched first where it is not there.

    An sdist is smaller than a wheel of vLLM by hundreds of MB; `wheel` takes the wheel of a package
    that has no sdist. Raises CalledProcessError where pip cannot get it.
    """
    at = cache() / f"{name}-{version}.zip"
    if not at.exists():
        at.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=at.parent) as folder:
            _download(name, version, Path(folder), wheel=wheel)
            (archive,) = Path(folder).iterdir()
            part = Path(folder) / "part.zip"
            with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as to:
                for path, text in _members(archive):
                    to.writestr(path, text)
            part.rename(at)
    return at


def files(archive: Path) -> Iterator[tuple[str, str]]:
    """Give path and text of every file of a zip, in the order of their names."""
    with zipfile.ZipFile(archive) as opened:
        for path in sorted(opened.namelist()):
            yield path, opened.read(path).decode("utf-8", "replace")


def _download(name: str, version: str, folder: Path, *, wheel: bool) -> None:
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--ignore-requires-python"]
    kind = ["--only-binary", ":all:"] if wheel else ["--no-binary", ":all:", "--no-build-isolation"]
    subprocess.run(
        [*pip, *kind, "-d", str(folder), f"{name}=={version}"],
        check=True,
        env={**os.environ, "PYTHONPATH": str(STUB)},
        timeout=1200,
    )


def _members(archive: Path) -> Iterator[tuple[str, bytes]]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for info in wheel.infolist():
                if _wanted(info.filename, info.file_size):
                    yield info.filename, wheel.read(info)
        return
    with tarfile.open(archive) as sdist:
        for member in sdist:
            path = member.name.split("/", 1)[-1]
            if member.isfile() and _wanted(path, member.size):
                opened = sdist.extractfile(member)
                assert opened is not None
                yield path, opened.read()


def _wanted(path: str, size: int) -> bool:
    at = Path(path)
    return at.suffix in SUFFIXES and size < SIZE_LIMIT and at.parts[0] not in NOT_RUN
