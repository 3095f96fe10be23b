# SPDX-License-Identifier: Apache-2.0
"""agent.toml -> frozen Config, or every mistake in it at once."""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

from agent.config.fleet import read_fleet
from agent.config.gpus import read_power, read_thermal
from agent.config.lines import line_numbers
from agent.config.notify import read_notify
from agent.config.rules import check_together
from agent.config.service import read_services
from agent.config.values import (
    Keys,
    Mistake,
    address,
    boolean,
    nearest,
    plain_path_or_nothing,
    read_table,
)
from agent.core.settings.config import Config, Metrics
from agent.errors import ConfigError
from agent.host.files.own import read_own

LARGEST = 4 << 20
"""Bytes of an agent.toml; one of a hundred services has 100 KiB."""

TABLES = ("service", "power", "thermal", "metrics", "notify", "fleet")
METRICS: Keys = {
    "listen": address,
    "web_config_file": plain_path_or_nothing,
    "host": boolean,
    "page": boolean,
}

HINTS = {
    "Invalid value": 'a string stands in quotes, as model = "org/name"',
    "Cannot overwrite a value": "a key is given twice: leave one",
    "Cannot declare": "a table is given twice: put its keys together",
    "Expected '=' after a key": "TOML has lines like key = value; this may be YAML or another file",
    "Invalid statement": "TOML has [tables] and lines like key = value",
    "Unescaped": "put a path or text with backslashes in 'single quotes'",
    "Unclosed array": "a list ends with ]",
}
"""What the parser's words mean for who wrote the line, by how they begin."""

_AT = re.compile(r" \(at (?:line (\d{1,18}), column (\d{1,18})|end of document)\)$")


def load(path: Path) -> Config:
    """Read a configuration file.

    Raises ConfigError with every mistake in it, also when the file cannot be read at all.
    """
    try:
        content = read_own(path, LARGEST)
    except OSError as error:
        raise ConfigError(str(path), (f"cannot be read: {error.strerror}",)) from error
    try:
        # An editor of another system may have put a byte-order mark before it.
        text = content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(str(path), (f"line {line}: is not UTF-8",)) from error
    return parse(text, str(path))


def parse(text: str, file: str) -> Config:
    """Read the text of a configuration file; `file` is its name for messages.

    Raises ConfigError with every mistake in it, each as "line N: path.of.key: what to do".
    """
    try:
        raw = tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(file, ("is nested too deeply to be a configuration",)) from error
    except ValueError as error:
        raise ConfigError(file, (_syntax(str(error), text),)) from error
    mistakes: list[Mistake] = []
    for name in raw:
        if name not in TABLES:
            near = nearest(name, TABLES)
            hint = f"did you mean {near}?" if near else f"the tables are {', '.join(TABLES)}"
            mistakes.append(Mistake((name,), f"unknown; {hint}"))
    services = read_services(raw.get("service", {}), mistakes)
    config = Config(
        services=services,
        metrics=_metrics(raw.get("metrics", {}), mistakes),
        power=read_power(raw.get("power", {}), mistakes),
        thermal=read_thermal(raw.get("thermal", {}), mistakes),
        notify=read_notify(raw.get("notify", {}), mistakes),
        fleet=read_fleet(raw.get("fleet", {}), mistakes),
    )
    mistakes.extend(check_together(config))
    if mistakes:
        raise ConfigError(file, _sentences(mistakes, text))
    return config


def _metrics(raw: object, mistakes: list[Mistake]) -> Metrics:
    values = read_table(raw, ("metrics",), METRICS, mistakes)
    if "listen" in values:
        values["address"], values["port"] = values.pop("listen")
    return Metrics(**values)


def _syntax(message: str, text: str) -> str:
    """Put the place of a TOML syntax error first, as with every other mistake."""
    found = _AT.search(message)
    what = _AT.sub("", message)
    hint = next((hint for begin, hint in HINTS.items() if what.startswith(begin)), "")
    is_cut_off = found is not None and found.group(1) is None
    if hint and not (is_cut_off and what == "Invalid value"):
        what = f"{what}: {hint}"
    if found is None:
        return what
    if found.group(1) is None:
        return f"line {text.count(chr(10)) + 1}: {what}, but the file ends here"
    return f"line {found.group(1)}, column {found.group(2)}: {what}"


def _sentences(mistakes: Iterable[Mistake], text: str) -> tuple[str, ...]:
    lines = line_numbers(text)
    placed = [(_line_of(mistake.path, lines), mistake) for mistake in mistakes]
    placed.sort(key=lambda item: item[0] or 0)
    return tuple(
        f"{f'line {line}: ' if line else ''}{'.'.join(mistake.path)}: {mistake.text}"
        for line, mistake in placed
    )


def _line_of(path: tuple[str, ...], lines: dict[tuple[str, ...], int]) -> int | None:
    """Return the line of the key, or else of the nearest table around it that has one."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None
