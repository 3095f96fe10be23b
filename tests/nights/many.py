# SPDX-License-Identifier: Apache-2.0
"""Many nights at once, on all processors."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tests.nights.ledger import Ledger
from tests.nights.night import Night, under_an_all_knowing, under_llmagent, under_systemd
from tests.nights.promises import BrokenPromiseError

RESTART_SECONDS = (0.1, 5.0)
"""RestartSec= of the units that llmagent is held against: systemd's default, and a usual one."""

EVERY = 5
"""One night in so many is compared: the crash loops of Restart= cost more than llmagent does."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One night; `broken` says which promise llmagent broke, "" for none.

    `ledgers` are those of llmagent, of the all-knowing and of RESTART_SECONDS, () where only the
    promises were looked at.
    """

    seed: int
    broken: str
    ledgers: tuple[Ledger, ...]


def broken_in(seed: int) -> str:
    """Live through the night of a seed; returns what was broken, "" for nothing."""
    try:
        under_llmagent(Night.of(seed))
    except BrokenPromiseError as broken:
        return str(broken)
    return ""


def broken_when_steered(seed: int) -> str:
    """Live through a night in which an operator steers; returns what was broken, "" for nothing."""
    try:
        under_llmagent(Night.steered(seed))
    except BrokenPromiseError as broken:
        return str(broken)
    return ""


def broken_when_shaped(seed: int) -> str:
    """Live through a night of services in other shapes; returns what was broken, "" for nothing."""
    try:
        under_llmagent(Night.shaped(seed))
    except BrokenPromiseError as broken:
        return str(broken)
    return ""


def compared(seed: int) -> Compared:
    """Live through the night of a seed under llmagent, and one in EVERY under the others too."""
    night = Night.of(seed)
    try:
        ours = under_llmagent(night)
        if seed % EVERY:
            return Compared(seed, "", ())
        theirs = tuple(under_systemd(night, seconds) for seconds in RESTART_SECONDS)
        return Compared(seed, "", (ours, under_an_all_knowing(night), *theirs))
    except BrokenPromiseError as broken:
        return Compared(seed, str(broken), ())


def all_broken(
    seeds: Iterable[int], lived: Callable[[int], str] = broken_in, chunk: int = 20
) -> list[str]:
    """Live through many nights; returns what was broken."""
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        return [broken for broken in pool.imap_unordered(lived, seeds, chunk) if broken]


def all_compared(seeds: Iterable[int]) -> Iterator[Compared]:
    """Live through many nights under everybody."""
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        yield from pool.imap_unordered(compared, seeds, 20)
