# SPDX-License-Identifier: Apache-2.0
"""The files of a compose project, and other foreign texts, read within bounds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.core.foreign.compose.merge import TAGS
from agent.core.foreign.compose.services import engines_of_compose
from agent.core.foreign.found import Found, Left
from agent.core.foreign.variables import variables_in
from agent.errors import UsageError
from agent.host.files.foreign import open_regular, trusted
from agent.host.files.yaml_text import yaml_documents

MOST_BYTES = 256 * 1024

_FILES = ("compose", "docker-compose", "podman-compose", "container-compose")
_SUFFIXES = (".yaml", ".yml")
"""With _FILES the names that `compose up` finds by itself, whose override file it reads, too."""


def engines_of_project(
    path: Path, documents: Sequence[Mapping[str, Any]], runtime: str
) -> tuple[Found, ...]:
    """Return the engines of a compose file and of what it names; raises NoEngineError.

    `documents` are its content.
    """
    place = path.absolute().parent
    variables = {**variables_in(read_text(str(place / ".env")) or ""), **os.environ}
    left: tuple[Left, ...] = ()
    if (override := _override(path)) is not None:
        documents = [*documents, *yaml_tables(override)]
        left = (Left(override.name, "its keys are merged, as `compose up` does"),)
    home = str(Path.home())
    base = Found("", (), variables, directory=str(place), home=home, left=left)

    def read(name: str) -> str | None:
        return read_text(str(place / name))

    return engines_of_compose(documents, base, runtime, read, _content)


def _override(path: Path) -> Path | None:
    """Return the file that overrides this one by its name, None where there is none."""
    if path.stem not in _FILES or path.suffix not in _SUFFIXES:
        return None
    names = (path.with_name(f"{path.stem}.override{suffix}") for suffix in _SUFFIXES)
    return next((name for name in names if name.is_file()), None)


def _content(path: str) -> Mapping[str, Any] | None:
    """Return the first document of a file that another names, None where it cannot be read.

    No link of another user's leads to what that user may not read himself.
    """
    try:
        documents = yaml_tables(trusted(Path(path)))
    except (OSError, UsageError):
        return None
    return documents[0]


def yaml_tables(path: Path) -> Sequence[Mapping[str, Any]]:
    """Return the documents of a YAML file that are tables; raises UsageError where none is."""
    text = read_text(str(path))
    if text is None:
        raise UsageError(f"{path} cannot be read, or is larger than {MOST_BYTES >> 10} KiB")
    try:
        content = [one for one in yaml_documents(text, TAGS) if isinstance(one, dict)]
    except ValueError as error:
        raise UsageError(f"{path} is not YAML: {error}") from error
    if not content:
        raise UsageError(f"{path} holds no keys, so it is no compose file")
    return content


def read_text(file: str) -> str | None:
    """Return the text of a small regular file, None for anything else."""
    try:
        with open_regular(Path(os.path.realpath(file))) as stream:
            content = stream.read(MOST_BYTES + 1)
    except (OSError, ValueError):  # the latter for a name with a NUL in it
        return None
    return None if len(content) > MOST_BYTES else content.decode(errors="replace")
