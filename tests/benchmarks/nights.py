# SPDX-License-Identifier: Apache-2.0
"""Ten thousand nights: which promises hold, and the availability beside that of others.

Usage: python -m tests.benchmarks.nights [NIGHTS [GROUP_NIGHTS]].
`python -m tests.nights SEED` tells one, `python -m tests.nights.groups SEED` one of a group.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from tests.benchmarks.table.figures import keep
from tests.nights.groups.many import all_compared as all_groups
from tests.nights.ledger import Ledger
from tests.nights.many import RESTART_SECONDS, Compared, all_compared

NIGHTS = 10_000
GROUP_NIGHTS = 450
"""Fifty of each size of a group."""
ALONE = tuple(f"Restart= {seconds:g} s" for seconds in RESTART_SECONDS)
WHO = ("llmagent", "all-knowing", *ALONE)
WHO_KEEPS_GROUPS = ("llmagent", *ALONE)
"""On every host of the group."""


def main(nights: int, group_nights: int) -> int:
    """Print the tables; returns 1 when a promise was broken."""
    sums, broken = _lived("of one host", all_compared(range(nights)), WHO)
    groups, group_broken = _lived(
        "of groups of hosts", all_groups(range(group_nights)), WHO_KEEPS_GROUPS
    )
    could = sums["all-knowing"].served
    keep(
        "nights",
        {
            "nights": nights,
            "broken": len(broken),
            "served_percent": 100 * sums["llmagent"].served / could,
            "restart_served_percent": 100 * sums[ALONE[0]].served / could,
            "group_nights": group_nights,
            "group_broken": len(group_broken),
            "group_served_percent": _percent(groups["llmagent"]),
            "group_restart_served_percent": _percent(groups[ALONE[0]]),
        },
    )
    return 1 if broken or group_broken else 0


def _percent(of: Ledger) -> float:
    """Return what was served of the time wanted."""
    return 100 * of.served / of.wanted


def _lived(
    of: str, nights: Iterator[Compared], who: Sequence[str]
) -> tuple[dict[str, Ledger], list[str]]:
    """Live through the nights and print what came of them; returns sums and broken promises."""
    began = time.monotonic()
    sums = [Ledger() for _ in who]
    broken: list[str] = []
    lived = compared = 0
    for night in nights:
        lived += 1
        if night.broken:
            broken.append(night.broken)
        elif night.ledgers:
            compared += 1
            for total, one in zip(sums, night.ledgers, strict=True):
                total.add(one)
    took = time.monotonic() - began
    print(f"{lived} nights {of} in {took:.0f} s; promises broken in {len(broken)}")
    for text in broken[:20]:
        print(f"  {text}")
    if compared:
        _table(sums, compared, who)
    return dict(zip(who, sums, strict=True)), broken


def _table(sums: list[Ledger], nights: int, who: Sequence[str]) -> None:
    print(f"\n{f'{nights} nights under all':42}" + "".join(f"{name:>16}" for name in who))
    rows = {"served of the time wanted": [f"{s.served / s.wanted:.4f}" for s in sums]}
    if "all-knowing" in who:
        could = sums[who.index("all-knowing")].served
        rows["served of what the all-knowing served"] = [f"{s.served / could:.4f}" for s in sums]
    rows["minutes lost a night"] = [f"{(s.wanted - s.served) / nights / 60:.1f}" for s in sums]
    for name, values in rows.items():
        print(f"{name:42}" + "".join(f"{value:>16}" for value in values))
    print("\nminutes lost a night, by what happened last before")
    kinds = Counter[str]()
    for ledger in sums:
        kinds.update(ledger.lost)
    for kind, _ in kinds.most_common():
        minutes = [ledger.lost.get(kind, 0.0) / nights / 60 for ledger in sums]
        print(f"{kind:42}" + "".join(f"{value:16.2f}" for value in minutes))
    print()


if __name__ == "__main__":
    asked = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*(asked + [NIGHTS, GROUP_NIGHTS][len(asked) :])))
