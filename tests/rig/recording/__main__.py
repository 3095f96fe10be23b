# SPDX-License-Identifier: Apache-2.0
"""Passes the demo on to the terminal and keeps it in docs/demo.md; nothing of one that failed."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from tests.rig.recording.page import PAGE, recorded


def main() -> None:
    """Read the demo from standard input to its end."""
    lines = []
    for line in sys.stdin:
        print(line, end="", flush=True)
        lines.append(line.rstrip("\n"))
    if not any(line.startswith("== Done in ") for line in lines):
        raise SystemExit(f"the demo did not come to its end: {PAGE} is as it was")
    PAGE.write_text(recorded(PAGE.read_text(), lines, f"{datetime.now(UTC):%Y-%m-%d}"))


if __name__ == "__main__":
    main()
