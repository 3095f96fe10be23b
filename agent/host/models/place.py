# SPDX-License-Identifier: Apache-2.0
"""Where a model's files are: a directory of the operator's, or a snapshot in the hub's cache.

Layout of the cache (huggingface_hub 0.8..2.x): models--ORG--NAME/{refs,snapshots,blobs}. A ref
holds the commit that a branch or tag stood at; a snapshot of a commit holds links to blobs, and a
file that is not fetched whole has no link. The cache belongs to the service's user.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO

from agent.core.record import dataclass
from agent.host.files.foreign import (
    LONGEST,
    entries,
    files_below,
    inside,
    open_regular,
    read_regular,
    shown,
    trusted,
)
from agent.host.models.json_file import CONFIG_BYTES, parse

COMMIT = re.compile(r"[0-9a-f]{40}")
REF_BYTES = 256


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """A directory of a model; links lead out of it only below `root`, None: where trusted ones do.

    Every method raises OSError for what is there and may not be read.
    """

    directory: Path
    root: Path | None = None

    def open(self, name: str) -> BinaryIO:
        """Open a regular file."""
        return open_regular(self._real(name))

    def read(self, name: str, most: int = LONGEST) -> bytes:
        """Return a regular file's content of at most so many bytes."""
        return read_regular(self._real(name), most)

    def read_object(self, name: str, most: int = CONFIG_BYTES) -> dict[str, Any]:
        """Return the JSON object in a file; raises ValueError where it is none of bearable size."""
        document = parse(self.read(name, most))
        if isinstance(document, dict):
            return document
        raise ValueError(f"{shown(self.directory / name)} is not a JSON object")

    def size(self, name: str) -> int | None:
        """Return the bytes of a regular file, None where there is none."""
        try:
            facts = self._real(name).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return facts.st_size if stat.S_ISREG(facts.st_mode) else None

    def has(self, name: str) -> bool:
        """Tell whether there is such a regular file."""
        return self.size(name) is not None

    def names(self, *patterns: str) -> list[str]:
        """Return the names in the directory that one of the patterns matches, sorted."""
        names = [entry.name for entry in entries(self.directory)]
        return sorted(name for name in names if any(fnmatchcase(name, p) for p in patterns))

    def all_files(self) -> Iterator[str]:
        """Yield the names of all files, with those of the directories below; no link is entered."""
        for entry in files_below(self.directory):
            yield os.path.relpath(entry.path, self.directory)

    def _real(self, name: str) -> Path:
        if "\0" in name:
            raise OSError(f"{shown(name)} is no name of a file")
        file = self.directory / name
        return trusted(file) if self.root is None else inside(file, self.root)


def local(directory: str) -> ModelPlace:
    """Return a model's own directory; raises OSError where a link to it is not to be followed."""
    return ModelPlace(trusted(Path(directory)))


def storage_of(cache: Path, name: str) -> Path:
    """Return the directory of a repository in the cache; raises as `local` does."""
    return trusted(cache) / f"models--{name.replace('/', '--')}"


def cached(cache: Path, name: str, revision: str) -> ModelPlace | None:
    """Return the snapshot of a revision, a branch, a tag or a commit; None when it is not there.

    Raises OSError where the cache holds something else in its place.
    """
    storage = storage_of(cache, name)
    try:
        inside(storage, storage)
        reference = storage / "refs" / revision
        text = read_regular(inside(reference, storage), REF_BYTES).decode("ascii", "replace")
    except FileNotFoundError:
        text = revision
    commit = text.strip()
    if COMMIT.fullmatch(commit) is None:
        if commit == revision:
            return None
        raise OSError(f"{reference} holds no commit: {shown(commit)}")
    snapshot = inside(storage / "snapshots" / commit, storage)
    return ModelPlace(snapshot, storage) if snapshot.is_dir() else None
