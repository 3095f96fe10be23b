# SPDX-License-Identifier: Apache-2.0
"""Many nights at once, on all processors."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

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


def _broken_in(draw: Callable[[int], Night], seed: int) -> str:
    try:
        under_llmagent(draw(seed))
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
    seeds: Iterable[int], draw: Callable[[int], Night] = Night.of, chunk: int = 20
) -> list[str]:
    """Live through the nights that are drawn from the seeds; returns what was broken."""
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        lived = pool.imap_unordered(partial(_broken_in, draw), seeds, chunk)
        return [broken for broken in lived if broken]


def all_compared(seeds: Iterable[int]) -> Iterator[Compared]:
    """Live through many nights under everybody."""
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        yield from pool.imap_unordered(compared, seeds, 20)
