# SPDX-License-Identifier: Apache-2.0
"""The key `extra_args`: vLLM's own arguments, refusing what has a key here or would escape."""

from __future__ import annotations

from collections.abc import Iterator

from agent.config.values import SECRET_VALUE, WrongValueError, as_toml
from agent.core.command.escapes import refusals
from agent.core.command.given import read_words


def extra_args(value: object) -> tuple[str, ...]:
    """Read vLLM's own arguments; all that is wrong with them is told at once."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise WrongValueError(f'{as_toml(value)} is not a list of strings, as ["--seed", "1"]')
    wrong = [*_unfit(value)]
    wrong += refusals(read_words(value).options)
    if wrong:
        raise WrongValueError("; ".join(wrong))
    return tuple(value)


def _unfit(arguments: list[str]) -> Iterator[str]:
    for argument in arguments:
        if "\x00" in argument:
            yield "an argument cannot hold a NUL character"
        elif SECRET_VALUE.search(argument):
            yield "an argument looks like a secret, which everyone on the host would see in ps"
