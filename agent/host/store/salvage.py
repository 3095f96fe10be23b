# SPDX-License-Identifier: Apache-2.0
"""Reads a store that cannot be written: SQLite itself wants to make a file beside it for that.

On a full or read-only disk the write-ahead log may hold what was recorded last, and only a copy of
both files, where something can be written, shows it.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from agent.host.store.file import StoreError, store_error
from agent.host.store.store import Store

MOST_BYTES = 64 << 20
"""The copy is in memory, for a moment; a history of 100,000 events has about 30 MB."""


def journals_of(path: Path) -> tuple[Path, ...]:
    """Return the file and those that SQLite has beside it."""
    return (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm")))


def stored_rows(path: Path, copy: Path) -> Mapping[str, str]:
    """Return the state in the store at `path`, by way of a copy that is gone afterwards.

    Raises StoreError when it cannot be read.
    """
    try:
        _copy(path, copy)
        with Store.read_only(copy) as store:
            return store.load_state()
    except OSError as error:
        raise store_error(path, "copy", error) from error
    finally:
        for file in journals_of(copy):
            with contextlib.suppress(OSError):
                file.unlink()


def _copy(path: Path, copy: Path) -> None:
    pairs = tuple(zip(journals_of(path), journals_of(copy), strict=True))[:2]
    size = sum(source.stat().st_size for source, _ in pairs if source.exists())
    if size > MOST_BYTES:
        raise StoreError(f"{path} has {size >> 20} MiB, too many to be looked at in memory")
    for source, aim in pairs:
        if source.exists():
            shutil.copyfile(source, aim)
            aim.chmod(0o600)
