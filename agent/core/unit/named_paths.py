# SPDX-License-Identifier: Apache-2.0
"""Paths that a service's options and variables name, and whether vLLM reads there or writes.

Lists with colons, file:// addresses, NAME=path (as LoRA adapters are given) and strings in JSON are
looked into. What a path is for is told by the words of the name that it stands under.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum

from agent.core.command.picture import picture_of
from agent.core.record import dataclass
from agent.core.settings.service import Settings


class Use(StrEnum):
    """What vLLM does at a path; `UNKNOWN` where its name does not say."""

    READ = "read"
    WRITE = "write"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class NamedPath:
    """An absolute path under the `name` of an option, of a key in its JSON, or of a variable."""

    name: str
    path: str
    use: Use
    of_option: bool = True


_READ_FIRST = frozenset({"config", "lora", "loras", "adapter", "adapters", "plugin", "template"})
_WRITTEN = frozenset(
    {
        *("cache", "debug", "disk", "download", "dump", "dumps", "log", "logs", "offload"),
        *("output", "profile", "profiler", "save", "spill", "storage", "store", "tmp", "trace"),
        *("traces", "tmpdir"),
    }
)
_READ = frozenset(
    {
        *("bin", "bundle", "ca", "cert", "certs", "compatibility", "cuda", "data", "draft"),
        *("encodings", "frontend", "home", "include", "key", "ld", "lib", "library", "media"),
        *("model", "models", "module", "modules", "parser", "preload", "ptxas", "python"),
        *("pythonpath", "scale", "script", "so", "tokenizer", "weights"),
    }
)
_PLACES = frozenset({"dir", "directory", "folder", "root", "path", "base", "prefix"})
"""Words of which a name says that it is a place, and not what for: then it may be written to."""

_SYSTEM = ("/usr", "/etc", "/opt", "/lib", "/bin", "/sbin", "/proc", "/sys")
_NAMED = re.compile(r"[A-Za-z0-9_.-]+=(/.*)", re.DOTALL)
_LISTS = frozenset({"path", "pythonpath", "ld_library_path", "ld_preload"})


def paths_named(settings: Settings) -> Iterator[NamedPath]:
    """Yield each absolute path that has no key of its own in the settings."""
    for name, text in texts_named(settings):
        for path in _paths_in(name, text):
            yield NamedPath(name, path, use_of(name, path), name not in settings.environment)


def use_of(name: str, path: str) -> Use:
    """Tell by a name such as `torch_profiler_dir` what vLLM does at the path."""
    words = frozenset(re.split(r"[^a-z0-9]+", name.lower()))
    if name == "PATH" or words & _READ_FIRST:
        return Use.READ
    if words & _WRITTEN:
        return Use.WRITE
    if words & _READ:
        return Use.READ
    if words & _PLACES:
        return Use.READ if _below(path, _SYSTEM) else Use.WRITE
    return Use.UNKNOWN


def texts_named(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield every text asked for without a key of its own, with the name that it stands under."""
    for name, given in picture_of(settings).options.items():
        if getattr(settings, name, None) is None:
            yield from _inside(name, given.value)
    yield from settings.environment.items()


def _inside(name: str, value: object) -> Iterator[tuple[str, str]]:
    match value:
        case str() if value.startswith("{"):
            try:
                yield from _inside(name, json.loads(value))
            except (ValueError, RecursionError):
                yield name, value
        case str():
            yield name, value
        case Mapping():
            for key, inner in value.items():
                # A bare "path" says less than the option that it stands in: name both.
                yield from _inside(str(key) if key not in _PLACES else f"{name}.{key}", inner)
        case list() | tuple():
            for inner in value:
                yield from _inside(name, inner)
        case _:
            return


def _paths_in(name: str, text: str) -> Iterator[str]:
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    elif named := _NAMED.fullmatch(text):
        text = named[1]
    for part in text.split(":") if name.lower() in _LISTS else (text,):
        if part.startswith("/"):
            yield part


def _below(path: str, directories: tuple[str, ...]) -> bool:
    return any(path == one or path.startswith(f"{one}/") for one in directories)
