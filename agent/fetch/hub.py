# SPDX-License-Identifier: Apache-2.0
"""One repository of the hub and its place in the cache, through whatever huggingface_hub is there.

What vLLM loads (DefaultModelLoader, 0.6..0.32): the files that model.safetensors.index.json names,
else *.safetensors, else *.bin, else *.pt; for Mistral's own format consolidated*.safetensors.
"""

from __future__ import annotations

import contextlib
import fnmatch
import importlib
import importlib.util
import json
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from agent.fetch.blobs import SUFFIX, WRONG, digest, flaw
from agent.fetch.progress import say

SMALL = (".json", ".txt", ".model", ".jinja", ".py", ".tiktoken", ".yaml", ".yml", ".spm", ".vocab")
WEIGHTS = ("*.safetensors", "*.bin", "*.pt")
NO_WEIGHTS = ("training_args.bin", "optimizer.*", "scheduler.*", "scaler.*", "consolidated*")
INDEX = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
WORKERS = 4
LARGEST_OVER_HTTP = 50_000_000_000
"""The hub gives a larger file through Xet only (huggingface_hub 0.32..2.4)."""

_TOKEN = re.compile(r"hf_\w{6,}|(?<=Bearer )[^\s'\"]+")


_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
"""A commit, a large file's SHA-256, or git's SHA-1 of a small one: each names something here."""

_LIES = "Consistency check failed: the hub calls"


class RemoteFile(NamedTuple):
    """A file as the hub describes it; size in bytes, 0 when it does not say."""

    size: int
    sha256: str | None
    git_sha1: str | None


def redacted(text: str) -> str:
    """Return the text without any token of the hub."""
    return _TOKEN.sub("***", text)


class Repository:
    """Asks the hub at once; raises what huggingface_hub raises."""

    def __init__(self, name: str, revision: str | None) -> None:
        self._hub: Any = importlib.import_module("huggingface_hub")
        self.name = name
        self.revision = revision or "main"
        constants = importlib.import_module("huggingface_hub.constants")
        cache = getattr(constants, "HF_HUB_CACHE", None) or constants.HUGGINGFACE_HUB_CACHE
        folder = "models--" + name.replace("/", "--")
        self.storage = Path(cache).absolute() / folder
        self.locks = self.storage.parent / ".locks" / folder
        info = self._hub.HfApi().model_info(name, revision=self.revision, files_metadata=True)
        self.commit = str(info.sha)
        self.files: dict[str, RemoteFile] = {s.rfilename: _described(s) for s in info.siblings}
        _refuse_other_places(self.commit, self.files)
        self.snapshot = self.storage / "snapshots" / self.commit

    def lock_file(self, name: str) -> Path:
        """Return the path of a lock in the hub's directory for locks, which is made."""
        self.locks.mkdir(parents=True, exist_ok=True)
        return self.locks / f"{name}.lock"

    def small(self) -> tuple[str, ...]:
        """Return what is not weights: configuration, tokenizer, templates, code."""
        return tuple(name for name in self.files if name.endswith(SMALL))

    def fetch_small(self) -> None:
        """Fetch all of `small`; raises OSError where one is not what the hub has."""
        absent = [name for name in self.small() if not (self.snapshot / name).exists()]
        self._snapshot(self.small())
        # All of them, before one is told: what is wrong must not be there at the next try.
        with ThreadPoolExecutor(WORKERS) as pool:
            compared = [pool.submit(self._compare, name) for name in absent]
        for one in compared:
            one.result()

    def weights(self, *, mistral_format: bool) -> tuple[str, ...]:
        """Return the weights that vLLM loads; `small` must be there already."""
        own = fnmatch.filter(self.files, "consolidated*.safetensors")
        if own and (mistral_format or not fnmatch.filter(self.files, "model*.safetensors")):
            return tuple(sorted(own))
        top = [name for name in self.files if "/" not in name]
        top = [name for name in top if not any(fnmatch.fnmatch(name, no) for no in NO_WEIGHTS)]
        for pattern in WEIGHTS:
            found = fnmatch.filter(top, pattern)
            if found:
                return self._of_the_index(pattern) or tuple(sorted(found))
        return ()

    def _of_the_index(self, pattern: str) -> tuple[str, ...]:
        for index in INDEX:
            if index in self.files and fnmatch.fnmatch(index[: -len(".index.json")], pattern):
                self._compare(index)  # one of an earlier try that was ended before it was compared
                shards = json.loads((self.snapshot / index).read_text()).get("weight_map", {})
                return tuple(sorted({name for name in shards.values() if name in self.files}))
        return ()

    def missing(self, names: Iterable[str]) -> int:
        """Return how many bytes of these files are still to be fetched."""
        partial: dict[str, int] = {}
        with contextlib.suppress(FileNotFoundError):
            for file in (self.storage / "blobs").glob(f"*{SUFFIX}"):
                with contextlib.suppress(FileNotFoundError):
                    facts = file.stat()
                    there = min(facts.st_size, facts.st_blocks * 512)
                    etag = file.name.partition(".")[0]
                    partial[etag] = max(partial.get(etag, 0), there)
        return sum(self._missing(name, partial) for name in names)

    def _missing(self, name: str, partial: dict[str, int]) -> int:
        remote = self.files[name]
        etag = remote.sha256 or remote.git_sha1 or ""
        if (self.snapshot / name).exists() or (etag and (self.storage / "blobs" / etag).exists()):
            return 0
        return max(0, remote.size - partial.get(etag, 0))

    def fetch(self, names: tuple[str, ...], broken_off: set[str]) -> None:
        """Fetch these files: each from where it broke off, then whatever that cannot do.

        Xet is faster than HTTP, but begins a file anew each time: it is for files of which no
        download broke off yet.
        """
        by_xet: list[Path] = []
        checked: set[str] = set()
        absent = [name for name in names if not (self.snapshot / name).exists()]
        with ThreadPoolExecutor(WORKERS) as pool:
            for left in pool.map(lambda name: self._resume(name, broken_off, checked), absent):
                by_xet += left
        try:
            self._snapshot(names)
            # What huggingface_hub fetched itself it compares by size alone (0.32..2.4).
            with ThreadPoolExecutor(WORKERS) as pool:
                list(pool.map(self._compare, (name for name in absent if name not in checked)))
        finally:
            for partial in by_xet:
                if not partial.with_suffix("").exists():
                    partial.touch()

    def _compare(self, name: str) -> None:
        """Raise OSError and remove a file, blob and link, whose bytes are not those of the hub."""
        link = self.snapshot / name
        why = flaw(link, self.files[name]) if link.exists() else None
        if why is None:
            return
        blob = link.resolve()
        link.unlink()
        if self.storage in blob.parents:
            blob.unlink(missing_ok=True)
        raise self._wrong(name, blob, why)

    def _wrong(self, name: str, blob: Path, why: str = WRONG) -> OSError:
        say("removed", f"{blob} ({name}): {why}")
        failed = "Consistency check failed: what was fetched is not what the hub has"
        return OSError(f"{failed} ({name}): removed")

    def _resume(self, name: str, broken_off: set[str], checked: set[str]) -> list[Path]:
        """Fetch one file over HTTP; where Xet may do it instead, return what marks it as begun."""
        files: Any = importlib.import_module("huggingface_hub.file_download")
        url = self._hub.hf_hub_url(self.name, name, revision=self.commit)
        remote = self._hub.get_hf_file_metadata(url)
        if _HASH.fullmatch(str(remote.etag)) is None:
            raise OSError(f"{_LIES} {str(remote.etag)[:200]!r} the hash of {name}")
        blob = self.storage / "blobs" / str(remote.etag)
        partial = blob.with_name(f"{remote.etag}{SUFFIX}")
        if blob.exists() or not remote.size or not hasattr(files, "http_get"):
            return []
        if remote.size > LARGEST_OVER_HTTP or (_has_xet(remote) and blob.name not in broken_off):
            return [partial]
        headers = dict(self._hub.utils.build_hf_headers())
        if _place(remote.location) != _place(url):
            headers.pop("authorization", None)
        blob.parent.mkdir(parents=True, exist_ok=True)
        with self._lock(blob.name), partial.open("ab") as stream:
            had = stream.tell()
            if had < remote.size:
                files.http_get(
                    remote.location,
                    stream,
                    resume_size=had,
                    headers=headers,
                    expected_size=remote.size,
                )
            stream.flush()
            sha256 = self.files[name].sha256 or (blob.name if len(blob.name) == 64 else "")
            if sha256 and digest(partial) != sha256:
                partial.unlink()
                raise self._wrong(name, partial)
            partial.replace(blob)
        checked.add(name)
        return []

    def _lock(self, etag: str) -> contextlib.AbstractContextManager[Any]:
        lock = getattr(self._hub.utils, "WeakFileLock", None)
        return contextlib.nullcontext() if lock is None else lock(self.lock_file(etag))

    def _snapshot(self, names: Iterable[str]) -> None:
        # Each name is a pattern: a bracket in it would be read as a set of characters.
        patterns = [name.replace("[", "[[]") for name in names]
        if patterns:
            self._hub.snapshot_download(
                self.name, revision=self.revision, allow_patterns=patterns, max_workers=WORKERS
            )

    def check(self, names: Iterable[str]) -> None:
        """Raise OSError unless all these files are there in full."""
        for name in names:
            file, size = self.snapshot / name, self.files[name].size
            if not file.exists():
                raise OSError(f"{file} is not there although it was fetched")
            if size and file.stat().st_size != size:
                raise OSError(
                    f"Consistency check failed: file should be of size {size} but has size "
                    f"{file.stat().st_size} ({name})"
                )


def _refuse_other_places(commit: str, names: Iterable[str]) -> None:
    """Raise OSError where the hub's word would lead out of the repository's own directory."""
    if _HASH.fullmatch(commit) is None:
        raise OSError(f"{_LIES} {commit[:200]!r} a commit")
    for name in names:
        if name.startswith("/") or ".." in name.split("/") or "\\" in name or "\0" in name:
            raise OSError(f"{_LIES} {name[:200]!r} a file of the repository")


def _place(url: str) -> tuple[str, str]:
    """Return what a token is for: a host by a scheme. Over plain HTTP anybody on the way has it."""
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.lower()


def _described(sibling: Any) -> RemoteFile:
    lfs = sibling.lfs
    sha256 = lfs.get("sha256") if isinstance(lfs, dict) else getattr(lfs, "sha256", None)
    return RemoteFile(sibling.size or 0, sha256, None if lfs else sibling.blob_id)


def _has_xet(remote: Any) -> bool:
    return bool(getattr(remote, "xet_file_data", None)) and (
        importlib.util.find_spec("hf_xet") is not None
    )
