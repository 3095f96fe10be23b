# SPDX-License-Identifier: Apache-2.0
"""The services of a compose project: what `extends`, `include` and an override file add to them.

Other files are read where they are named, relative to the file that names them; no more than
MOST_FILES, and none of another host. What is not followed is told.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any

from agent.core.foreign.compose.merge import finished, merged, whole_paths
from agent.core.foreign.found import Found, Left
from agent.core.foreign.shapes import rows, table
from agent.core.foreign.variables import expanded, variables_in
from agent.core.record import dataclass

ReadText = Callable[[str], str | None]
ReadFile = Callable[[str], Mapping[str, Any] | None]
"""Takes the path of a compose file; returns its content, None where it cannot be read."""

MOST_FILES = 16
MOST_STEPS = 16
"""So long is a chain of services that extend each other."""
MOST_EXTENDED = 100
"""So often a service is looked up for one that extends it."""

_ELSEWHERE = re.compile(r"[a-z][a-z+]*:|[\w.-]+@[\w.-]+:", re.IGNORECASE)
"""A git repository or a registry, which Compose would ask."""


@dataclass(frozen=True, slots=True)
class Service:
    """One service as Compose would start it; `missing` are variables that nothing sets."""

    name: str
    content: Mapping[str, Any]
    left: tuple[Left, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _File:
    """One file's services, and what its relative paths and its variables are."""

    services: Mapping[str, Any]
    directory: str
    variables: Mapping[str, str]


@dataclass(slots=True)
class _Reader:
    """One reading; `left` and `missing` are those of the service that is read now."""

    files: ReadFile
    read: ReadText
    project: str
    seen: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)
    extended: int = 0
    unread: list[Left] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def file(self, path: str) -> Mapping[str, Any] | None:
        """Read a file once; None where it cannot be read or is one too many."""
        if path not in self.seen:
            self.seen[path] = self.files(path) if len(self.seen) < MOST_FILES else None
        return self.seen[path]


def services_of(
    contents: Sequence[Mapping[str, Any]], base: Found, read: ReadText, files: ReadFile
) -> tuple[Service, ...]:
    """Return each service, in the order of the files, those that are included at the end.

    `contents` are the file and what overrides it; `base` has their directory, and the project's
    variables as its environment; `read` gets the file .env of what is included.
    """
    reader = _Reader(files, read, base.directory)
    services = []
    for layers in list(_projects(reader, contents, base.directory, base.environment)):
        for name in dict.fromkeys(name for layer in layers for name in layer.services):
            reader.left, reader.missing = list(reader.unread), []
            content: dict[str, Any] | None = None
            for layer in layers:
                own = _service(reader, layer, name, ())
                content = merged(content or {}, own or {}) if content or own else None
            if content is not None:
                left, missing = dict.fromkeys(reader.left), dict.fromkeys(reader.missing)
                services.append(Service(name, finished(content), tuple(left), tuple(missing)))
    return tuple(services)


def _projects(
    reader: _Reader,
    contents: Sequence[Mapping[str, Any]],
    directory: str,
    variables: Mapping[str, str],
) -> Iterator[tuple[_File, ...]]:
    """Yield the files, each overriding those before, and those of each project they include."""
    yield tuple(_File(table(one.get("services")), directory, variables) for one in contents)
    for one in (entry for content in contents for entry in rows(content.get("include"))):
        paths = table(one).get("path", one)
        listed = [paths] if isinstance(paths, str) else rows(paths)
        named = [expanded(str(path), variables, []) for path in listed]
        whole = [_placed(directory, path) for path in named if not _ELSEWHERE.match(path)]
        # A file that is included twice, or by itself, is read once.
        if any(path in reader.seen for path in whole):
            continue
        found = [content for path in whole if (content := reader.file(path)) is not None]
        if len(found) < len(named):
            told = "not all of it can be read here: its services are missing"
            reader.unread.append(Left(f"include: {', '.join(named)}", told))
        if found:
            inside = table(one).get("project_directory") or whole[0].rpartition("/")[0]
            inside = _placed(directory, str(inside))
            own = variables_in(reader.read(f"{inside}/.env") or "")
            yield from _projects(reader, found, inside, {**own, **variables})


def _service(
    reader: _Reader, file: _File, name: str, trail: tuple[tuple[str, str], ...]
) -> dict[str, Any] | None:
    """Return a service with what it extends, None where the file has no such service."""
    raw = file.services.get(name)
    if not isinstance(raw, dict):
        return None
    own = _put_in(raw, file.variables, reader.missing)
    if file.directory != reader.project:
        own = whole_paths(own, lambda path: _placed(file.directory, path))
    extends = own.pop("extends", None)
    base = None if extends is None else _base(reader, file, extends, trail)
    return merged(base or {}, own)


def _base(
    reader: _Reader, file: _File, extends: Any, trail: tuple[tuple[str, str], ...]
) -> dict[str, Any] | None:
    """Return the service that is extended, None where it is not followed, which is told then."""
    other = str(table(extends).get("file") or "")
    name = str(table(extends).get("service") or ("" if isinstance(extends, dict) else extends))
    path = _placed(file.directory, other) if other else trail[-1][0] if trail else ""
    reader.extended += 1
    problem = ""
    if (path, name) in trail:
        problem = "it leads back to itself"
    elif len(trail) >= MOST_STEPS or reader.extended > MOST_EXTENDED:
        problem = "too many services extend each other: write them out"
    elif _ELSEWHERE.match(other):
        problem = "it is on another host, which is not asked: name a copy that is here"
    elif other and (content := reader.file(path)) is None:
        problem = "the file cannot be read here: what it says is missing"
    elif other:
        services = table(table(content).get("services"))
        file = _File(services, path.rpartition("/")[0], file.variables)
    if not problem:
        base = _service(reader, file, name, (*trail, (path, name)))
        if base is not None:
            return base
        problem = "there is no such service: what it says is missing"
    reader.left.append(Left(f"extends: {name}" + (f" of {other}" if other else ""), problem))
    return None


def _placed(directory: str, path: str) -> str:
    """Return the absolute path, "." and ".." taken out as Compose does."""
    return posixpath.normpath(posixpath.join(directory, path)) if path[:1] != "~" else path


def _put_in(value: Any, variables: Mapping[str, str], missing: list[str]) -> Any:
    """Put variables into the strings of a service, at any depth."""
    match value:
        case str():
            return expanded(value, variables, missing)
        case list():
            return [_put_in(item, variables, missing) for item in value[:1000]]
        case dict():
            return {str(key): _put_in(item, variables, missing) for key, item in value.items()}
        case _:
            return value
