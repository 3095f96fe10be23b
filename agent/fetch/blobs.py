# SPDX-License-Identifier: Apache-2.0
"""What may be removed from the hub's cache: broken-off downloads of this model, files gone bad.

Layout of the cache (huggingface_hub 0.8..2.x): models--ORG--NAME/{blobs,refs,snapshots}; a snapshot
links to blobs, which are named by their hash: SHA-256 of a large file, git's SHA-1 of a small one.
A download of up to 1.x is blobs/HASH.incomplete and goes on where it ended; 2.x adds a random word
(HASH.WORD.incomplete) and begins anew each time, leaving a killed one's file behind.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from agent.fetch.progress import say

if TYPE_CHECKING:
    from agent.fetch.hub import RemoteFile

STALE_SECONDS = 86400.0
SUFFIX = ".incomplete"
BLOCK = 1 << 22
WRONG = "its SHA-256 is not the hub's"


def remove_stale(storage: Path, locks: Path) -> set[str]:
    """Remove this model's downloads that nobody goes on with; return the hashes they were of.

    Those that can be resumed stay for a day. What somebody holds open, or holds the hub's lock
    of, is never touched.
    """
    broken_off = set()
    held = set(_open_files())
    for file in sorted((storage / "blobs").glob(f"*{SUFFIX}")):
        name, _, word = file.name[: -len(SUFFIX)].partition(".")
        broken_off.add(name)
        old = time.time() - file.stat().st_mtime > STALE_SECONDS
        if os.path.realpath(file) in held or not (old or (word and _is_free(locks, name))):
            continue
        say("removed", f"{file}: an earlier download that broke off")
        file.unlink()
    return broken_off


def _open_files() -> Iterator[str]:
    """Yield what processes of this user have open; of others nothing can be seen."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            yield str(link.readlink())
        except OSError:
            continue


def _is_free(locks: Path, name: str) -> bool:
    """Tell whether no download of the blob holds huggingface_hub's lock."""
    try:
        with open(locks / f"{name}.lock") as file:  # noqa: PTH123
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def remove_bad(snapshot: Path, storage: Path, files: Mapping[str, RemoteFile]) -> None:
    """Remove each file of the snapshot that is not what the hub has, blob and link."""
    for file in sorted((storage / "blobs").glob(f"*{SUFFIX}")):
        say("removed", f"{file}: not to be gone on with in a repair")
        file.unlink()
    for name, remote in sorted(files.items()):
        link = snapshot / name
        if not os.path.lexists(link):
            continue
        say("checking", name)
        why = flaw(link, remote)
        if why is None:
            continue
        blob = Path(os.path.realpath(link))
        link.unlink()
        if blob != link and blob.exists() and storage in blob.parents:
            blob.unlink()
        say("removed", f"{blob} ({name}): {why}")


def flaw(file: Path, remote: RemoteFile) -> str | None:
    """Return in what the file is not what the hub has, None where it is."""
    if not file.exists():
        return "a link to nothing"
    size = file.stat().st_size
    if remote.size and size != remote.size:
        return f"{size} bytes, {remote.size} on the hub"
    if remote.sha256:
        return None if digest(file) == remote.sha256 else WRONG
    if remote.git_sha1:
        git = hashlib.sha1(b"blob %d\0" % size)  # noqa: S324
        git.update(file.read_bytes())
        return None if git.hexdigest() == remote.git_sha1 else "its hash is not the hub's"
    return None


def digest(file: Path) -> str:
    """Return the file's SHA-256."""
    sha = hashlib.sha256()
    with file.open("rb") as stream:
        for block in iter(lambda: stream.read(BLOCK), b""):
            sha.update(block)
    return sha.hexdigest()
