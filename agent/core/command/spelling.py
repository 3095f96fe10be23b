# SPDX-License-Identifier: Apache-2.0
"""Which option a word of the command line names, in all the spellings that vLLM's parser takes.

As in vLLM 0.9..0.33 (utils/argparse_utils.py): underscores are dashes, a switch has a negative, and
an unambiguous beginning of a name will do (argparse's `allow_abbrev`).
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.core.command.options import ALSO, GONE, GONE_AND_BEGUN, KINDS, SHORT, Kind
from agent.core.record import dataclass


@dataclass(frozen=True, slots=True)
class Named:
    """An option: vLLM's `name` for its value, what it takes, and False where it is the negative.

    `could_be` are the options that an ambiguous beginning stands for; vLLM refuses it.
    """

    name: str
    kind: Kind
    positive: bool = True
    could_be: tuple[str, ...] = ()


def option_named(word: str) -> Named:
    """Return the option that `--word` or `-w` is; the word holds no value."""
    if not word.startswith("--"):
        name = SHORT.get(word)
        return Named(name, KINDS[name]) if name else Named(word.lstrip("-"), Kind.UNKNOWN)
    name = word[2:].replace("-", "_")
    exact = _exact(name)
    if exact is not None:
        return exact
    begun = {spelled: found for spelled, found in _spellings() if spelled.startswith(name)}
    meant = {found for spelled, found in begun.items()} if name else set()
    if len(begun) == 1:
        return meant.pop()
    return Named(name, Kind.UNKNOWN, could_be=tuple(sorted(begun)) if name else ())


def _exact(name: str) -> Named | None:
    name = ALSO.get(name, name)
    if name in KINDS:
        return Named(name, KINDS[name])
    if name in GONE:
        return Named(name, Kind.PAIRED)
    if name in GONE_AND_BEGUN:
        return Named(name, Kind.TEXT)
    for own in _positives(name):
        if KINDS.get(own) is Kind.PAIRED:
            return Named(own, Kind.PAIRED, positive=False)
    return None


def _positives(negative: str) -> Iterator[str]:
    """Yield the switches whose negative this could be."""
    if negative.startswith("no_"):
        yield negative[3:]
    if negative.startswith("disable_"):
        yield f"enable_{negative[8:]}"
    if negative.startswith("enable_"):
        yield f"disable_{negative[7:]}"


def _spellings() -> Iterator[tuple[str, Named]]:
    for name, own in ALSO.items():
        yield name, Named(own, KINDS[own])
    for name, kind in KINDS.items():
        yield name, Named(name, kind)
        if kind is not Kind.PAIRED:
            continue
        for negative in negatives_of(name):
            yield negative, Named(name, kind, positive=False)


def negatives_of(switch: str) -> tuple[str, ...]:
    """Return the names that turn a paired switch off, the oldest first."""
    if switch.startswith("enable_"):
        return f"no_{switch}", f"disable_{switch[7:]}"
    if switch.startswith("disable_"):
        return f"no_{switch}", f"enable_{switch[8:]}"
    return (f"no_{switch}",)
