# SPDX-License-Identifier: Apache-2.0
"""Paths that are relative to where an engine ran, as whole ones: our unit runs elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import field, replace
from typing import Any

from agent.core.foreign.found import Found, Left
from agent.core.record import dataclass

_FILE = re.compile(r"[\w./-]+\.(?:ya?ml|json|toml|jinja2?|py|txt|pem|crt|key|ini|conf|gguf)")
_NAMED = re.compile(r"(?P<name>-{0,2}[A-Za-z0-9_.-]+=)(?P<value>[^={\[].*)", re.DOTALL)
_OF_A_PATH = re.compile(r"(?:^|[_-])(?:path|dir|directory|folder|file)$", re.IGNORECASE)
"""How the names of options, variables and keys end that hold a path."""

_NAMES = frozenset({"--served-model-name", "--served_model_name"})
"""Options whose words look like paths and are none."""

_LISTS = frozenset({"PYTHONPATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "PATH"})
"""Variables that hold several paths, with a colon between them."""


def with_whole_paths(found: Found, exists: Callable[[str], bool]) -> Found:
    """Return the engine with its relative paths made whole where they are there.

    `exists` tells of an absolute path whether something is there. A relative name of a file that is
    not there is named in `left`.
    """
    if found.container is not None or not found.directory.startswith("/"):
        return found
    placing = _Placing(found, exists)
    words = tuple(placing.words())
    environment = {
        name: ":".join(map(placing.whole, value.split(":")))
        if name in _LISTS
        else placing.text(value, name)
        for name, value in found.environment.items()
    }
    left = tuple(
        Left(what, f"it is relative to {found.directory}, and not there: write its whole path")
        for what in placing.missing
    )
    return replace(found, words=words, environment=environment, left=(*found.left, *left))


@dataclass(slots=True)
class _Placing:
    found: Found
    exists: Callable[[str], bool]
    missing: list[str] = field(default_factory=list)

    def words(self) -> Iterator[str]:
        option = ""
        for word in self.found.words:
            if word.startswith("-"):
                option = word.partition("=")[0]
            yield word if option in _NAMES else self.text(word, option)

    def text(self, text: str, name: str) -> str:
        """Place what is a path, what is behind NAME=, and each string in JSON."""
        if text.startswith("{"):
            return self._json(text, name)
        if named := _NAMED.fullmatch(text):
            return f"{named['name']}{self.whole(named['value'], name)}"
        return self.whole(text, name)

    def whole(self, path: str, name: str = "") -> str:
        if path.startswith(("./", "../", "~/")) or path in (".", "..", "~"):
            return self.found.placed(path)
        is_path = bool(_OF_A_PATH.search(name)) and path not in ("", "auto", "None")
        is_file = _FILE.fullmatch(path) is not None
        if path.startswith("/") or "://" in path or not ("/" in path or is_file or is_path):
            return path
        placed = self.found.placed(f"./{path}")
        if self.exists(placed):
            return placed
        if is_file or is_path:
            self.missing.append(f"{name} {path}".strip())
        return path

    def _json(self, text: str, name: str) -> str:
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            return text
        placed = self._inside(content, name)
        return text if placed == content else json.dumps(placed)

    def _inside(self, content: Any, name: str) -> Any:
        match content:
            case str():
                return self.whole(content, name)
            case dict():
                return {key: self._inside(value, str(key)) for key, value in content.items()}
            case list():
                return [self._inside(value, name) for value in content]
            case _:
                return content
