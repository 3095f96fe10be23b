# SPDX-License-Identifier: Apache-2.0
"""A model's files, the room beside them, the token, and what the hub says."""

from __future__ import annotations

import json
import os
import re
import stat
import time
from pathlib import Path

import requests

from agent.core.doctor.model import Access, ModelFiles, Room, Token
from agent.errors import AgentError

HUB = "https://huggingface.co"
DEADLINE_SECONDS = 2.0
STALE_SECONDS = 86_400
LONGEST_JSON = 32 << 20
TOKENIZERS = ("tokenizer*", "*.model", "tekken.json", "vocab*", "*.tiktoken", "*.gguf")
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.")


def model_files(model: str, revision: str | None, hf_home: str) -> ModelFiles:
    """Look at a model's directory, or at its snapshot in the hub's cache; no file is opened whole.

    Raises nothing: what cannot be read is told as `problem`.
    """
    try:
        if model.startswith("/"):
            directory = Path(model)
            return _judged(directory, ()) if directory.is_dir() else ModelFiles()
        cache = Path(hf_home) / "hub" / f"models--{model.replace('/', '--')}"
        if not cache.is_dir():
            return ModelFiles()
        stale = tuple(_stale(cache / "blobs"))
        commit = _commit(cache, revision or "main")
        directory = cache / "snapshots" / commit
        return _judged(directory, stale) if directory.is_dir() else ModelFiles(stale=stale)
    except (OSError, UnicodeDecodeError) as error:
        where = getattr(error, "filename", None) or model
        return ModelFiles(problem=f"{where}: {getattr(error, 'strerror', None) or error}")


def _commit(cache: Path, revision: str) -> str:
    reference = cache / "refs" / revision
    return reference.read_text().strip() if reference.is_file() else revision


def _stale(blobs: Path) -> list[str]:
    if not blobs.is_dir():
        return []
    now = time.time()
    return [
        file.name
        for file in sorted(blobs.glob("*.incomplete"))
        if now - file.stat().st_mtime > STALE_SECONDS
    ]


def _judged(directory: Path, stale: tuple[str, ...]) -> ModelFiles:
    if not (directory / "config.json").is_file() and not (directory / "params.json").is_file():
        return ModelFiles(str(directory), complete=False, lacks="config.json", stale=stale)
    files, problem = _weights(directory)
    missing = [file for file in files if not file.exists()]
    size = sum(file.stat().st_size for file in files if file.exists())
    if missing:
        problem = f"{missing[0]} is missing ({len(missing)} of {len(files)})"
    elif broken := next((file for file in files if _is_cut(file)), None):
        problem = f"{broken} is shorter than its header says"
    config = directory / "config.json"
    if config.is_file() and _json(config) is None:
        problem = f"{config} is not JSON"
    lacks = "" if files else "weights"
    if files and not any(path for name in TOKENIZERS for path in directory.glob(name)):
        lacks = "tokenizer"
    return ModelFiles(
        directory=str(directory),
        complete=bool(files) and not missing,
        problem=problem,
        lacks=lacks,
        size_bytes=size,
        stale=stale,
        chat_template=_has_template(directory),
    )


def _weights(directory: Path) -> tuple[list[Path], str]:
    """Return the files that a start loads, by the index or by the names, and what is wrong."""
    index = directory / "model.safetensors.index.json"
    if index.is_file():
        weights = (_json(index) or {}).get("weight_map")
        if not isinstance(weights, dict) or not weights:
            return [], f"{index} names no weights"
        return [directory / str(name) for name in sorted(set(map(str, weights.values())))], ""
    for pattern in ("*.safetensors", "pytorch_model*.bin", "*.gguf"):
        files = sorted(directory.glob(pattern))
        parts = [found for file in files if (found := _PART.search(file.name))]
        if parts and len(parts) < int(parts[0][2]):
            told = f"{directory} has {len(parts)} of {int(parts[0][2])} parts, and no index"
            return files, told
        if files:
            return files, ""
    return [], ""


def _is_cut(file: Path) -> bool:
    if file.suffix != ".safetensors":
        return False
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > LONGEST_JSON:
            return True
        try:
            header = json.loads(stream.read(length))
            ends = [t["data_offsets"][1] for n, t in header.items() if n != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
            return True
    return file.stat().st_size < 8 + length + max(ends, default=0)


def _has_template(directory: Path) -> bool:
    if any(directory.glob("chat_template*")):
        return True
    tokenizer = directory / "tokenizer_config.json"
    return tokenizer.is_file() and bool((_json(tokenizer) or {}).get("chat_template"))


def _json(file: Path) -> dict[str, object] | None:
    try:
        with file.open("rb") as stream:
            document = json.loads(stream.read(LONGEST_JSON))
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


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
    try:
        answer = requests.head(
            url, headers=headers, timeout=DEADLINE_SECONDS, allow_redirects=False
        )
    except requests.RequestException:
        return Access.UNREACHABLE
    code = answer.headers.get("X-Error-Code", "")
    if answer.status_code < 400:
        return Access.GRANTED
    if code == "GatedRepo" or answer.status_code == 403:
        return Access.GATED
    if answer.status_code == 404 or code in {"RepoNotFound", "RevisionNotFound"}:
        return Access.MISSING
    return Access.REFUSED if answer.status_code == 401 else Access.UNREACHABLE
