# SPDX-License-Identifier: Apache-2.0
"""The arguments of `vllm serve`, word by word, as options with values and what is wrong with them.

Follows FlexibleArgumentParser and argparse (vLLM 0.9..0.33): JSON keys given apart stand after all
else, a word behind an option is its value unless it begins with a dash, numbers below 0 apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from enum import StrEnum

from agent.core.command.options import Kind
from agent.core.command.spelling import Named, option_named
from agent.core.command.values import (
    Value,
    WrongWordError,
    is_true,
    merged,
    nested,
    read_value,
)
from agent.core.record import dataclass

_NEGATIVE_NUMBER = re.compile(r"-\d+|-\d*\.\d+")
_LEVEL = re.compile(r"-O=?(\d)")
_SHORT_WITH_VALUE = re.compile(r"(-[nqr])([^-=].*)")


class Place(StrEnum):
    """Where an option was given."""

    CONFIG_FILE = "the file of --config"
    KEY = "agent.toml"
    COMMAND_LINE = "the command line"


@dataclass(frozen=True, slots=True)
class Given:
    """One option under vLLM's own name, its value, and the word that gave it.

    The value is None where the word behind the option is none that it takes. `words` are all that
    gave it, as they stood there: ("-tp", "2").
    """

    name: str
    value: Value
    spelled: str
    place: Place = Place.COMMAND_LINE
    words: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Arguments:
    """What stands on a command line behind `vllm serve`.

    `options` in the order in which vLLM takes them, so that of two the later one holds;
    `config_file` is the path behind --config; `mistakes` are sentences on what vLLM refuses or
    does not read; `unknown` the options that no release known here has.
    """

    model: str | None = None
    options: tuple[Given, ...] = ()
    config_file: str | None = None
    mistakes: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(slots=True)
class _Table:
    """The keys of one option that were given apart, and the words that gave them."""

    spelled: str
    keys: Mapping[str, object] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Reading:
    words: list[str]
    place: Place
    at: int = 0
    begin: int = 0
    model: str | None = None
    config_file: str | None = None
    options: list[Given] = field(default_factory=list)
    tables: dict[str, _Table] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def next_value(self) -> str | None:
        """Take the next word where it can be a value."""
        if self.at < len(self.words) and not _is_option(self.words[self.at]):
            self.at += 1
            return self.words[self.at - 1]
        return None

    def wrong(self, text: str) -> None:
        self.mistakes.append(text)


def read_words(words: Sequence[str], place: Place = Place.COMMAND_LINE) -> Arguments:
    """Read the words behind `vllm serve`; nothing is raised, mistakes are listed."""
    reading = _Reading(list(words), place)
    while reading.at < len(reading.words):
        word = reading.words[reading.at]
        reading.begin = reading.at
        reading.at += 1
        if _is_option(word):
            known = len(reading.options)
            _option(reading, word)
            own = tuple(reading.words[reading.begin : reading.at])
            reading.options[known:] = (replace(new, words=own) for new in reading.options[known:])
        elif reading.model is None:
            reading.model = word
        else:
            reading.wrong(f"{_short(word)} stands where no argument is taken")
    apart = [
        Given(name, table.keys, table.spelled, place, tuple(table.words))
        for name, table in reading.tables.items()
    ]
    return Arguments(
        model=reading.model,
        options=(*reading.options, *apart),
        config_file=reading.config_file,
        mistakes=tuple(reading.mistakes),
        unknown=tuple(dict.fromkeys(reading.unknown)),
    )


def _is_option(word: str) -> bool:
    if len(word) < 2 or not word.startswith("-") or _NEGATIVE_NUMBER.fullmatch(word):
        return False
    return " " not in word.split("=", 1)[0]


def _option(reading: _Reading, word: str) -> None:
    flag, joined, value = word.partition("=")
    explicit = value if joined else None
    if level := _LEVEL.fullmatch(word):
        flag, explicit = "--optimization-level", level[1]
    elif word == "-O":
        flag = "--optimization-level"
    elif option_named(flag).kind is Kind.UNKNOWN and (found := _SHORT_WITH_VALUE.fullmatch(word)):
        flag, explicit = found[1], found[2]
    if "." in flag:
        _apart(reading, flag, explicit)
        return
    named = option_named(flag)
    if named.name == "config":
        _config(reading, flag, explicit)
    elif named.kind in (Kind.PAIRED, Kind.ALONE):
        _switch(reading, named, flag, explicit)
    elif named.kind is Kind.UNKNOWN:
        _unknown(reading, named, flag, explicit)
    else:
        _valued(reading, named, flag, explicit)


def _apart(reading: _Reading, flag: str, explicit: str | None) -> None:
    """Read `--option.key value`: such keys are one table, which replaces the option's JSON."""
    head, *keys = flag.removesuffix("+").split(".")
    value = reading.next_value() if explicit is None else explicit
    named = option_named(head)
    if value is None:
        reading.wrong(f"{flag} has no value")
        return
    if named.kind is Kind.UNKNOWN:
        _note_unknown(reading, named, head)
        return
    try:
        new = nested(keys, value, adds=flag.endswith("+"))
    except WrongWordError as wrong:
        reading.wrong(f"{flag}: {wrong}")
        return
    table = reading.tables.setdefault(named.name, _Table(flag))
    table.keys = merged(table.keys, new)
    table.words += reading.words[reading.begin : reading.at]


def _config(reading: _Reading, flag: str, explicit: str | None) -> None:
    if flag != "--config" or explicit is not None:
        # vLLM looks for the word "--config" itself; another spelling is taken and forgotten.
        whole = flag if explicit is None else f"{flag}={explicit}"
        reading.wrong(f"{whole}: vLLM reads no file then; write --config and FILE as two words")
        if explicit is None:
            reading.next_value()
        return
    file = reading.next_value()
    if file is None:
        reading.wrong("--config has no file")
    elif not file.endswith((".yaml", ".yml")):
        reading.wrong(f"--config {file}: vLLM takes a file that ends in .yaml or .yml")
    elif reading.config_file is not None:
        reading.wrong("--config is given twice: vLLM reads one file")
    else:
        reading.config_file = file


def _switch(reading: _Reading, named: Named, flag: str, explicit: str | None) -> None:
    on = named.positive
    if explicit is not None:
        try:
            on = is_true(explicit) is named.positive
        except WrongWordError as wrong:
            reading.wrong(f"{flag}: {wrong}")
            return
    reading.options.append(Given(named.name, on, flag, reading.place))


def _unknown(reading: _Reading, named: Named, flag: str, explicit: str | None) -> None:
    value = explicit if explicit is not None else reading.next_value()
    _note_unknown(reading, named, flag)
    found: Value = True if value is None else value
    reading.options.append(Given(named.name, found, flag, reading.place))


def _note_unknown(reading: _Reading, named: Named, flag: str) -> None:
    if named.could_be:
        words = [f"--{name.replace('_', '-')}" for name in named.could_be]
        few = ", ".join(words[:4])
        reading.wrong(f"{flag} could be {few}{' ...' if len(words) > 4 else ''}")
    else:
        reading.unknown.append(flag)


def _valued(reading: _Reading, named: Named, flag: str, explicit: str | None) -> None:
    words = [explicit] if explicit is not None else []
    if not words and (first := reading.next_value()) is not None:
        words.append(first)
        while named.kind is Kind.MANY and (more := reading.next_value()) is not None:
            words.append(more)
    value: Value = None
    if not words and named.name != "hf_token":
        reading.wrong(f"{flag} has no value; it takes {named.kind}")
    elif words:
        try:
            value = read_value(named.kind, tuple(words))
        except WrongWordError as wrong:
            reading.wrong(f"{flag}: {wrong}")
    reading.options.append(Given(named.name, value, flag, reading.place))


def _short(word: str) -> str:
    return repr(word if len(word) <= 40 else f"{word[:37]}...")
