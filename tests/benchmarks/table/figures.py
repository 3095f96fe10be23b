# SPDX-License-Identifier: Apache-2.0
"""What the last run of each benchmark measured, with its day and machine, in build/bench."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.rig.paths import REPO

KEPT: Final = REPO / "build/bench"


@dataclass(frozen=True, slots=True)
class Run:
    """One benchmark's figures by name; their units are told where they are printed."""

    day: str
    machine: str
    values: dict[str, float]


def keep(part: str, values: Mapping[str, float], place: Path = KEPT) -> None:
    """Puts the figures of a benchmark that came to its end in the place of its last ones."""
    run = Run(f"{datetime.now(UTC):%Y-%m-%d}", this_machine(), dict(values))
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{part}.json").write_text(json.dumps(asdict(run), indent=1) + "\n")


def kept(place: Path = KEPT) -> dict[str, Run]:
    """Returns the last run of each benchmark that has ended here."""
    return {file.stem: Run(**json.loads(file.read_text())) for file in place.glob("*.json")}


def this_machine() -> str:
    """Returns its cores, memory and release, as a reader compares them."""
    total = re.search(r"MemTotal: +(\d+) kB", Path("/proc/meminfo").read_text())
    release = re.search(r'PRETTY_NAME="(\w+)[^"\d]*([\d.]*)', Path("/etc/os-release").read_text())
    assert total is not None
    assert release is not None
    gib = int(total[1]) / 2**20
    return f"{os.cpu_count()} cores, {gib:.0f} GiB, {release[1]} {release[2]}".strip()
