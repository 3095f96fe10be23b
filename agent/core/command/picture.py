# SPDX-License-Identifier: Apache-2.0
"""What vLLM is asked, all of it: one value an option, wherever it was given.

vLLM puts the lines of --config before the rest of the command line, so that its own words win
(argparse_utils._pull_args_from_config, vLLM 0.6..0.33); of two words for one option the later wins.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from agent.core.command.given import Arguments, Given, Place, read_words
from agent.core.command.options import KINDS, Kind
from agent.core.record import dataclass

if TYPE_CHECKING:
    from agent.core.settings.service import Settings

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Picture:
    """vLLM's options under vLLM's own names (`tensor_parallel_size`), and its environment.

    `mistakes` are what vLLM refuses or does not read, `unknown` the options of no known release;
    `file_was_read` is False where --config names a file whose content was not at hand.
    """

    options: Mapping[str, Given] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    config_file: str | None = None
    file_was_read: bool = True
    mistakes: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def asks(self, name: str) -> bool:
        """Tell whether the option is given, with a value that is not None."""
        return name in self.options and self.options[name].value is not None

    def whole(self, name: str) -> int | None:
        """Return a whole number, None where it is not given or is none."""
        value = self._value(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def real(self, name: str) -> float | None:
        """Return a number, None where it is not given or is none."""
        value = self._value(name)
        return float(value) if isinstance(value, int | float) and value is not True else None

    def text(self, name: str) -> str | None:
        """Return a word, None where it is not given or is none; of several the first."""
        value = self._value(name)
        if isinstance(value, tuple):
            return value[0] if value else None
        return value if isinstance(value, str) else None

    def switch(self, name: str) -> bool | None:
        """Return whether a switch is on, None where nothing is said of it."""
        value = self._value(name)
        return value if isinstance(value, bool) else None

    def table(self, name: str) -> Mapping[str, Any]:
        """Return a table of JSON, empty where none is given."""
        value = self._value(name)
        return value if isinstance(value, Mapping) else {}

    def _value(self, name: str) -> object:
        given = self.options.get(name)
        return None if given is None else given.value


def picture_of(settings: Settings, config_file: Mapping[str, Any] | None = None) -> Picture:
    """Return what a service of agent.toml asks of vLLM.

    `config_file` is what stands in the file of a --config among `extra_args`; None when it was not
    read.
    """
    extra = read_words(settings.extra_args)
    mistakes = list(extra.mistakes)
    if extra.model is not None:
        mistakes.append(f"{extra.model!r} stands where no argument is taken")
    return _picture(
        (*file_arguments(config_file or {}).options, *_keys(settings), *extra.options),
        settings.environment,
        extra,
        mistakes,
        file_was_read=config_file is not None or extra.config_file is None,
    )


def picture_of_line(
    words: Sequence[str],
    environment: Mapping[str, str] = _NOTHING,
    config_file: Mapping[str, Any] | None = None,
) -> Picture:
    """Return what the words behind `vllm serve` ask; the model is the option `model`."""
    read = read_words(words)
    model = () if read.model is None else (Given("model", read.model, read.model),)
    options = (*file_arguments(config_file or {}).options, *model, *read.options)
    was_read = config_file is not None or read.config_file is None
    return _picture(options, environment, read, list(read.mistakes), file_was_read=was_read)


def file_arguments(content: Mapping[str, Any]) -> Arguments:
    """Return what a YAML file of options says, as vLLM's load_config_file reads it (0.6..0.33).

    A switch that is false there counts only in the spelling in which its `--no-x` is written.
    """
    words: list[str] = []
    for key, value in content.items():
        match value:
            case True:
                words.append(f"--{key}")
            case False if "_" not in str(key) and KINDS.get(_name(key)) is Kind.PAIRED:
                words.append(f"--no-{key}")
            case False:
                continue
            case list() if value:
                words += [f"--{key}", *map(str, value)]
            case list():
                continue
            case dict():
                words += [f"--{key}", json.dumps(value, default=str)]
            case _:
                words.append(f"--{key}={value}")
    return read_words(words, Place.CONFIG_FILE)


def forgotten(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys of a YAML file that say false, and that vLLM does not read for it."""
    return tuple(
        str(key)
        for key, value in content.items()
        if value is False and KINDS.get(_name(key)) is Kind.PAIRED and "_" in str(key)
    )


def _name(key: object) -> str:
    return str(key).replace("-", "_")


def _keys(settings: Settings) -> Iterable[Given]:
    from agent.core.engine.command_line import FLAGS  # with all settings: not for a command line

    for name in FLAGS:
        value = getattr(settings, name)
        if value is not None:
            yield Given(name, value, name, Place.KEY)
    if settings.cluster is not None:
        for name, value in settings.cluster.options.items():
            yield Given(name, value, f"cluster.{name}", Place.KEY)


def _picture(
    options: Iterable[Given],
    environment: Mapping[str, str],
    read: Arguments,
    mistakes: list[str],
    *,
    file_was_read: bool,
) -> Picture:
    last = {given.name: given for given in options}
    return Picture(
        options=MappingProxyType(last),
        environment=environment,
        config_file=read.config_file,
        file_was_read=file_was_read,
        mistakes=tuple(mistakes),
        unknown=read.unknown,
    )
