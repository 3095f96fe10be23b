# SPDX-License-Identifier: Apache-2.0
"""A model's files, the room beside them, the token, and what the hub says."""

from __future__ import annotations

import itertools
import os
import re
import stat
import time
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request

from agent.core.doctor.model import Access, ModelFiles, Room, Token
from agent.errors import AgentError
from agent.host.files.foreign import entries, shown
from agent.host.models.files import INDEX, header_of
from agent.host.models.json_file import files_of_index, tensors
from agent.host.models.place import ModelPlace, cached, local, storage_of
from agent.host.web.opener import opener_without_redirects

HUB = "https://huggingface.co"
DEADLINE_SECONDS = 2.0
STALE_SECONDS = 86_400
LONGEST_JSON = 8 << 20
MOST_STALE = 1000
TOKENIZERS = ("tokenizer*", "*.model", "tekken.json", "vocab*", "*.tiktoken", "*.gguf")
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.")


def model_files(model: str, revision: str | None, hf_home: str) -> ModelFiles:
    """Look at a model's directory, or at its snapshot in the hub's cache; no file is opened whole.

    Raises nothing: what cannot be read is told as `problem`.
    """
    try:
        if model.startswith("/"):
            return _judged(local(model), ()) if Path(model).is_dir() else ModelFiles()
        cache = Path(hf_home) / "hub"
        storage = storage_of(cache, model)
        if not storage.is_dir():
            return ModelFiles()
        stale = tuple(_stale(storage / "blobs"))
        place = cached(cache, model, revision or "main")
        return _judged(place, stale) if place is not None else ModelFiles(stale=stale)
    except OSError as error:
        where = shown(error.filename or model)
        return ModelFiles(problem=f"{where}: {error.strerror or shown(error)}")


def _stale(blobs: Path) -> list[str]:
    if not blobs.is_dir():
        return []
    now = time.time()
    broken_off = (
        file
        for file in entries(blobs)
        if file.name.endswith(".incomplete") and not file.is_symlink()
    )
    return sorted(
        shown(file.name)
        for file in itertools.islice(broken_off, MOST_STALE)
        if now - file.stat(follow_symlinks=False).st_mtime > STALE_SECONDS
    )


def _judged(place: ModelPlace, stale: tuple[str, ...]) -> ModelFiles:
    directory = str(place.directory)
    if not place.has("config.json") and not place.has("params.json"):
        return ModelFiles(directory, complete=False, lacks="config.json", stale=stale)
    names, problem = _weights(place)
    sizes = {name: place.size(name) for name in names}
    missing = [name for name, size in sizes.items() if size is None]
    if missing:
        first = shown(place.directory / missing[0])
        problem = f"{first} is missing ({len(missing)} of {len(names)})"
    elif broken := next((name for name in names if _is_cut(place, name)), None):
        problem = f"{shown(place.directory / broken)} is shorter than its header says"
    if place.has("config.json") and _json(place, "config.json", LONGEST_JSON) is None:
        problem = f"{place.directory / 'config.json'} is not JSON"
    lacks = "" if names else "weights"
    if names and not place.names(*TOKENIZERS):
        lacks = "tokenizer"
    return ModelFiles(
        directory=directory,
        complete=bool(names) and not missing,
        problem=problem,
        lacks=lacks,
        size_bytes=sum(size or 0 for size in sizes.values()),
        stale=stale,
        chat_template=_has_template(place),
    )


def _weights(place: ModelPlace) -> tuple[list[str], str]:
    """Return the files that a start loads, by the index or by the names, and what is wrong."""
    if place.has(INDEX):
        try:
            return list(files_of_index(place.read(INDEX))), ""
        except ValueError as error:
            return [], f"{place.directory / INDEX} {shown(error)}"
    for pattern in ("*.safetensors", "pytorch_model*.bin", "*.gguf"):
        names = place.names(pattern)
        parts = [found for name in names if (found := _PART.search(name))]
        if parts and len(parts) < int(parts[0][2]):
            told = f"{place.directory} has {len(parts)} of {int(parts[0][2])} parts, and no index"
            return names, told
        if names:
            return names, ""
    return [], ""


def _is_cut(place: ModelPlace, name: str) -> bool:
    if not name.endswith(".safetensors"):
        return False
    try:
        header, size = header_of(place, name)
        return size < 8 + len(header) + max((tensor.end for tensor in tensors(header)), default=0)
    except ValueError:
        return True


def _has_template(place: ModelPlace) -> bool:
    if place.names("chat_template*"):
        return True
    tokenizer = _json(place, "tokenizer_config.json", LONGEST_JSON)
    return bool((tokenizer or {}).get("chat_template"))


def _json(place: ModelPlace, name: str, most: int) -> dict[str, object] | None:
    try:
        return place.read_object(name, most)
    except (FileNotFoundError, ValueError):
        return None


def room(path: str) -> Room | None:
    """Return the file system that `path` is on, or will be; None when that cannot be told."""
    place = Path(path)
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        facts = os.statvfs(place)
    except OSError:
        return None
    return Room(path, facts.f_bavail * facts.f_frsize, facts.f_blocks * facts.f_frsize)


def token(path: str | None) -> Token | None:
    """Look at the token file without keeping its content; None when none is set."""
    if path is None:
        return None
    file = Path(path)
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        text = file.read_text(errors="replace").strip()
    except PermissionError:
        return Token(path, readable=False, denied=True)
    except OSError:
        return Token(path, readable=False)
    return Token(path, readable=True, mode=mode, looks_right=text.startswith("hf_"))


def access(model: str, revision: str | None, token_file: str | None, endpoint: str) -> Access:
    """Ask the hub for the model's config.json, as the first start will; nothing is downloaded."""
    url = f"{endpoint or HUB}/{model}/resolve/{revision or 'main'}/config.json"
    headers = {}
    if token_file is not None:
        try:
            headers["Authorization"] = f"Bearer {Path(token_file).read_text().strip()}"
        except OSError as error:
            raise AgentError(f"{token_file}: {error.strerror}") from error
    if not url.startswith(("https://", "http://")):
        return Access.UNREACHABLE
    asked = Request(url, headers=headers, method="HEAD")  # noqa: S310 - as the line above says
    try:
        with _OPENER.open(asked, timeout=DEADLINE_SECONDS):
            return Access.GRANTED
    except HTTPError as answer:
        return _access_by(answer.code, answer.headers.get("X-Error-Code", ""))
    except (OSError, HTTPException, ValueError):
        return Access.UNREACHABLE


def _access_by(status: int, code: str) -> Access:
    if status < 400:
        return Access.GRANTED
    if code == "GatedRepo" or status == 403:
        return Access.GATED
    if status == 404 or code in {"RepoNotFound", "RevisionNotFound"}:
        return Access.MISSING
    return Access.REFUSED if status == 401 else Access.UNREACHABLE


_OPENER = opener_without_redirects()
"""A token goes to the hub and not to whom it points at; a redirect says yes by itself."""
