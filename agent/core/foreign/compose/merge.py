# SPDX-License-Identifier: Apache-2.0
"""What one description of a compose service and a later one come to together.

The rules are those of the Compose Specification ("Merge and override", "extends"): a table gets
what it lacks and merges what both have, a list gets what the later one adds, a command is
replaced; places in the container are unique.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from agent.core.foreign.shapes import rows

_REPLACED = frozenset({"command", "entrypoint"})
_PAIRS = frozenset({"environment", "labels", "annotations", "sysctls"})
"""Keys that are a table or a list of NAME=VALUE."""


TAGS = ("!reset", "!override")
"""Tags of a value that takes the earlier one's place whole, as {TAG: value}; the first is none."""


def merged(base: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Return the service that both describe; tags of the later one are still in it."""
    base = _settled(base)
    result = dict(base)
    for key, value in later.items():
        if key in _REPLACED or _tag(value):
            result[key] = value
        elif key == "ulimits" and isinstance(value, dict) and isinstance(base.get(key), dict):
            result[key] = {**base[key], **value}
        elif key in _PAIRS:
            result[key] = {**_table(base.get(key)), **_table(value)}
        elif key == "extra_hosts":
            result[key] = _both(_hosts(base.get(key)), _hosts(value))
        else:
            result[key] = _both(base.get(key), value)
    return result


def finished(service: Mapping[str, Any]) -> dict[str, Any]:
    """Return a service with no tag in it, and of what has a place in the container the last."""
    result: dict[str, Any] = _settled(service)
    for key in _UNIQUE.keys() & result.keys():
        result[key] = _last_of_each(result[key], _UNIQUE[key])
    return result


def _both(base: Any, later: Any) -> Any:
    """Return what two values of one key come to."""
    match base, later:
        case _ if _tag(later):
            return later
        case _, None:
            return base
        case dict(), dict():
            keys = dict.fromkeys((*base, *later))
            return {k: _both(base.get(k), later[k]) if k in later else base[k] for k in keys}
        case list(), list():
            return [*base, *later]
        case list(), str():
            return [*base, later]
        case str(), list():
            return [base, *later]
        case _:
            return later


def _table(value: Any) -> dict[str, Any]:
    """Return the pairs as a table; None is the value of a name that stands alone."""
    if isinstance(value, dict):
        return value
    pairs = (str(item).partition("=") for item in rows(value) if not isinstance(item, dict | list))
    return {name: given if equals else None for name, equals, given in pairs}


def _hosts(value: Any) -> Any:
    """Return a table of hosts as the list NAME:ADDRESS that it may be, too."""
    return [f"{name}:{at}" for name, at in value.items()] if isinstance(value, dict) else value


def _tag(value: Any) -> str:
    """Return the tag that a value has, "" for none."""
    if not isinstance(value, dict) or len(value) != 1:
        return ""
    return next((tag for tag in TAGS if tag in value), "")


def _settled(value: Any) -> Any:
    """Return the value with what is tagged in it in its place, or gone."""
    if tag := _tag(value):
        return None if tag == TAGS[0] else _settled(value[tag])
    if isinstance(value, dict):
        return {k: _settled(item) for k, item in value.items() if _tag(item) != TAGS[0]}
    return [_settled(item) for item in value] if isinstance(value, list) else value


def _last_of_each(value: Any, key: Callable[[Any], object]) -> Any:
    if not isinstance(value, list):
        return value
    return list({key(item): item for item in value}.values())


def _target(item: Any) -> object:
    """Return where a volume or a device is seen in the container."""
    if isinstance(item, dict):
        return item.get("target", str(item))
    source, colon, rest = str(item).partition(":")
    return rest.partition(":")[0] if colon else source


def _port(item: Any) -> object:
    if isinstance(item, dict):
        named = ("host_ip", "published", "target", "protocol")
        return tuple(str(item.get(name, "")) for name in named)
    whole, _, protocol = str(item).partition("/")
    *address, published, target = ("", *whole.rsplit(":", 2)) if ":" in whole else ("", "", whole)
    return (":".join(filter(None, address)), published, target, protocol)


_UNIQUE: Mapping[str, Callable[[Any], object]] = {
    "volumes": _target,
    "devices": _target,
    "ports": _port,
    "tmpfs": lambda item: str(item).partition(":")[0],
}


def whole_paths(service: Mapping[str, Any], placed: Callable[[str], str]) -> dict[str, Any]:
    """Return the service with its relative paths as whole ones: they are its own file's.

    `placed` gives the absolute path of a relative one.
    """
    result = dict(service)
    if isinstance(files := service.get("env_file"), str | list):
        result["env_file"] = list(_files(files, placed))
    if isinstance(volumes := service.get("volumes"), list):
        result["volumes"] = [_volume(item, placed) for item in volumes]
    return result


def _files(files: str | list[Any], placed: Callable[[str], str]) -> Iterator[Any]:
    for item in [files] if isinstance(files, str) else files:
        if isinstance(item, dict) and isinstance(item.get("path"), str):
            yield {**item, "path": placed(item["path"])}
        else:
            yield placed(item) if isinstance(item, str) else item


def _volume(item: Any, placed: Callable[[str], str]) -> Any:
    if isinstance(item, dict):
        source = item.get("source")
        is_path = item.get("type") == "bind" and isinstance(source, str)
        return {**item, "source": placed(str(source))} if is_path else item
    source, colon, rest = str(item).partition(":")
    return f"{placed(source)}{colon}{rest}" if colon and source.startswith(".") else item
