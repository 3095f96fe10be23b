# SPDX-License-Identifier: Apache-2.0
"""Ten thousand nights: which promises hold, and the availability beside that of others.

Usage: python -m tests.benchmarks.nights [NIGHTS]. `python -m tests.nights SEED` tells one of them.
"""

from __future__ import annotations

import sys
import time
from collections import Counter

from tests.nights.faults import NIGHT
from tests.nights.ledger import Ledger
from tests.nights.many import RESTART_SECONDS, all_compared

NIGHTS = 10_000
WHO = ("llmagent", "all-knowing", *(f"Restart= {seconds:g} s" for seconds in RESTART_SECONDS))


def main(nights: int) -> int:
    """Print the tables; returns 1 when a promise was broken."""
    began = time.monotonic()
    sums = [Ledger() for _ in WHO]
    broken: list[str] = []
    lived = 0
    for night in all_compared(range(nights)):
        if night.broken:
            broken.append(night.broken)
        elif night.ledgers:
            lived += 1
            for total, one in zip(sums, night.ledgers, strict=True):
                total.add(one)
    took = time.monotonic() - began
    print(f"{nights} nights of {NIGHT / 3600:.0f} h in {took:.0f} s", end=", ")
    print(f"{nights / took:.0f} nights a second; promises broken in {len(broken)}")
    for text in broken[:20]:
        print(f"  {text}")
    if lived:
        _table(sums, lived)
    return 1 if broken else 0


def _table(sums: list[Ledger], nights: int) -> None:
    print(f"\n{nights} nights under all{'':23}" + "".join(f"{who:>16}" for who in WHO))
    could = sums[1].served
    rows = {
        "served of the time wanted": [f"{s.served / s.wanted:.4f}" for s in sums],
        "served of what the all-knowing served": [f"{s.served / could:.4f}" for s in sums],
        "minutes lost a night": [f"{(s.wanted - s.served) / nights / 60:.1f}" for s in sums],
    }
    for name, values in rows.items():
        print(f"{name:42}" + "".join(f"{value:>16}" for value in values))
    print("\nminutes lost a night, by what happened last before")
    kinds = Counter[str]()
    for ledger in sums:
        kinds.update(ledger.lost)
    for kind, _ in kinds.most_common():
        minutes = [ledger.lost.get(kind, 0.0) / nights / 60 for ledger in sums]
        print(f"{kind:42}" + "".join(f"{value:16.2f}" for value in minutes))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else NIGHTS))
