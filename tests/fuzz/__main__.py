# SPDX-License-Identifier: Apache-2.0
"""python -m tests.fuzz [--seconds N] [--seed N] [BORDER ...]: fuzzes each border for so long."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz.borders import borders
from tests.fuzz.driver import fuzz
from tests.fuzz.nvml import nvml


def main() -> int:
    """Return 1 when a border broke; the input is in the corpus then."""
    parser = argparse.ArgumentParser(prog="tests.fuzz")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("names", nargs="*", metavar="BORDER")
    args = parser.parse_args()
    broken = 0
    with borders() as most, TemporaryDirectory() as directory, nvml(Path(directory)) as gpus:
        every = {**most, gpus.name: gpus}
        for name in args.names or sorted(every):
            tried, found = fuzz(every[name], args.seed, args.seconds)
            print(f"{name}: {tried} inputs from seed {args.seed}", flush=True)
            if found is not None:
                broken += 1
                print(f"{found.what}\nkept as {found.keep()}", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
