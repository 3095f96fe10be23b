# SPDX-License-Identifier: Apache-2.0
"""Writes README's table from what was measured here: python -m tests.benchmarks.table."""

from __future__ import annotations

import sys

from tests.benchmarks.table.figures import KEPT, kept
from tests.benchmarks.table.page import ROWS, written
from tests.rig.paths import REPO

README = REPO / "README.md"


def main() -> int:
    """Tells which parts were not measured here; 1 where nothing was written."""
    runs = kept()
    if not runs:
        print(
            f"nothing is measured in {KEPT}: run `make bench`, or one of its parts", file=sys.stderr
        )
        return 1
    try:
        README.write_text(written(README.read_text(), runs))
    except ValueError as wrong:
        print(f"{README}: {wrong}", file=sys.stderr)
        return 1
    missing = sorted({row.part for row in ROWS} - runs.keys())
    print(
        f"{README} is written; not measured here, and left as it was: {', '.join(missing) or '-'}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
