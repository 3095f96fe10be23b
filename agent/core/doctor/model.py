# SPDX-License-Identifier: Apache-2.0
"""The model: complete, readable, allowed, with room on the disk."""

from __future__ import annotations

from enum import StrEnum

from agent.core.doctor.finding import Finding, fail, ok, skipped, unknown, warning
from agent.core.measures import GIB
from agent.core.record import dataclass
from agent.core.settings.service import Settings

ROOM_GIB = 5.0
"""Left beside a download: compiled kernels, the journal, the next model's config."""


class Access(StrEnum):
    """What the hub answered to a request for the model's config.json."""

    GRANTED = "granted"
    GATED = "gated"
    REFUSED = "refused"
    MISSING = "missing"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What is on disk of a model; sizes in bytes, `complete` None when nothing is there.

    `problem` says what is wrong with the files, `lacks` what is not there of them, `stale` names
    what an ended download left.
    """

    directory: str = ""
    complete: bool | None = None
    problem: str = ""
    lacks: str = ""
    size_bytes: int = 0
    stale: tuple[str, ...] = ()
    chat_template: bool = False


@dataclass(frozen=True, slots=True)
class Room:
    """The file system of a model cache."""

    path: str
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Token:
    """The file with the hub's token, never its content: `looks_right` tells of its form.

    `denied` tells that it is there, and only root may read it.
    """

    path: str
    readable: bool
    denied: bool = False
    mode: int = 0
    looks_right: bool = False


def judge_files(settings: Settings, files: ModelFiles) -> Finding:
    """Tell whether the model on disk is whole."""
    check, service = "model-files", settings.name
    local = settings.model.startswith("/")
    if files.problem:
        fix = "Copy or download the model again."
        if not local and files.directory:
            fix = f"Remove what is broken below {files.directory}: the next start fetches it again."
        return fail(check, files.problem, fix, service)
    if files.complete is None:
        if local:
            return fail(check, f"{settings.model} is not there", "Correct model.", service)
        return warning(check, "not downloaded yet", "The first start downloads it.", service)
    if not files.complete and local:
        told = f"{files.directory} has no {files.lacks or 'weights'}"
        return fail(check, told, "Copy or download the model again.", service)
    if not files.complete:
        fix = "The next start resumes the download."
        what = f": no {files.lacks}" if files.lacks else ""
        return warning(check, f"{files.directory} is not complete yet{what}", fix, service)
    told = f"{files.size_bytes / GIB:.1f} GiB in {files.directory}"
    if files.lacks == "tokenizer" and settings.tokenizer is None:
        fix = "Copy its tokenizer files too, or set tokenizer."
        return warning(check, f"{told}, no tokenizer", fix, service)
    if files.stale:
        fix = "Remove them: an ended download left them, and starts again by itself."
        return warning(check, f"{told}; left over: {', '.join(files.stale[:2])}", fix, service)
    return ok(check, told, service)


def judge_chat_template(settings: Settings, files: ModelFiles) -> Finding:
    """Tell whether chats are put together as the model was taught."""
    check, service = "chat-template", settings.name
    if settings.chat_template is not None:
        return ok(check, settings.chat_template, service)
    if files.complete is None:
        return skipped(check, "the model is not here yet", service)
    if files.chat_template:
        return ok(check, "the tokenizer has one", service)
    fix = "Set chat_template, if chats are asked of this model; completions work without."
    return warning(check, "the tokenizer has none: /v1/chat/completions fails", fix, service)


def judge_room(
    settings: Settings, room: Room | None, needed_bytes: int | None, files: ModelFiles
) -> Finding:
    """Tell whether what is still to be downloaded has room."""
    check, service = "disk", settings.name
    if room is None:
        return unknown(check, "the cache's file system cannot be looked at", service=service)
    free = room.free_bytes / GIB
    told = f"{free:.1f} GiB are free in {room.path}"
    if not files.complete and needed_bytes and not settings.model.startswith("/"):
        needed = max(0, needed_bytes - files.size_bytes) / GIB
        told = f"{told}, about {needed:.1f} GiB are still to come"
        if free < needed:
            return fail(check, told, "Make room, or set HF_HOME in environment.", service)
        if free < needed + ROOM_GIB:
            return warning(check, told, "Make room for what comes after it.", service)
    elif free < ROOM_GIB:
        return warning(check, told, "Make room: logs and compiled kernels need it.", service)
    return ok(check, told, service)


def judge_token(settings: Settings, token: Token | None) -> Finding:
    """Tell whether the token file can be used; its content is never shown."""
    check, service = "hub-token", settings.name
    if token is None:
        return skipped(check, "none is set", service)
    if token.denied:
        return unknown(check, f"only root reads {token.path}", "Run it as root.", service)
    if not token.readable:
        fix = f"sudo install -m 600 /dev/stdin {token.path}, then paste it, Enter, Ctrl-D."
        return fail(check, f"{token.path} cannot be read", fix, service)
    if token.mode & 0o077:
        fix = f"chmod 600 {token.path}"
        return warning(check, f"{token.path} has mode {token.mode:04o}", fix, service)
    if not token.looks_right:
        fix = "Put the token alone in the file; it begins with hf_."
        return warning(check, f"{token.path} does not look like a token", fix, service)
    return ok(check, token.path, service)


def judge_licence(settings: Settings, access: Access | None) -> Finding:
    """Tell whether the hub gives the model to this token."""
    check, service, model = "licence", settings.name, settings.model
    match access:
        case None:
            return skipped(check, "a local model, or all of it is here", service)
        case Access.GRANTED:
            return ok(check, f"the hub gives {model}", service)
        case Access.GATED:
            fix = f"Accept the licence at https://huggingface.co/{model} with the account of the "
            return fail(check, f"{model} is gated", f"{fix}token, and set hf_token_file.", service)
        case Access.REFUSED:
            fix = "Make a new token with read access; put it into hf_token_file."
            return fail(check, "the hub refuses the token", fix, service)
        case Access.MISSING:
            fix = "Correct model or revision; a private model needs hf_token_file."
            return fail(check, f"the hub has no {model}", fix, service)
        case Access.UNREACHABLE:
            fix = "Look at name service, proxy and firewall; the start waits for the hub."
            return warning(check, "the hub does not answer", fix, service)
