# SPDX-License-Identifier: Apache-2.0
"""Many nights of groups at once, on all processors."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Iterator

from tests.nights.groups.night import GroupNight, under_llmagent, under_systemd
from tests.nights.many import RESTART_SECONDS, Compared
from tests.nights.promises import BrokenPromiseError


def compared(seed: int) -> Compared:
    """Live through the night of a seed with llmagent on all hosts, and with systemd alone."""
    night = GroupNight.of(seed)
    try:
        ours = under_llmagent(night)
    except BrokenPromiseError as broken:
        return Compared(seed, str(broken), ())
    theirs = tuple(under_systemd(night, seconds) for seconds in RESTART_SECONDS)
    return Compared(seed, "", (ours, *theirs))


def all_compared(seeds: Iterable[int]) -> Iterator[Compared]:
    """Live through many nights under everybody."""
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        yield from pool.imap_unordered(compared, seeds)
