# SPDX-License-Identifier: Apache-2.0
"""What processes in a machine cost, and how long their /metrics takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.rig.container import Container

SCRAPER = """\
import http.client, json, sys, time
def one(connection):
    began = time.perf_counter()
    connection.request("GET", "/metrics")
    text = connection.getresponse().read()
    return time.perf_counter() - began, text
result = {}
for port in map(int, sys.argv[2:]):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    one(connection)
    took = sorted(one(connection)[0] for _ in range(int(sys.argv[1])))
    text = one(connection)[1]
    series = sum(not line.startswith(b"#") for line in text.splitlines())
    result[port] = took[len(took) // 2], took[len(took) * 99 // 100], len(text), series
print(json.dumps(result))
"""


@dataclass(frozen=True)
class Scrapes:
    """Times in milliseconds, and how much one scrape brings."""

    p50: float
    p99: float
    kib: float
    series: int


def scrape(box: Container, directory: Path, times: int, *ports: int) -> list[Scrapes]:
    """Scrapes each port so many times over one connection, one port after the other."""
    script = directory / "scrape.py"
    script.write_text(SCRAPER)
    argv = ["nsenter", "-t", str(box.leader), "-n", "--", sys.executable, str(script)]
    argv += [str(times), *map(str, ports)]
    said = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    found = (said[str(port)] for port in ports)
    return [Scrapes(p50 * 1e3, p99 * 1e3, size / 1024, count) for p50, p99, size, count in found]


class Process:
    """A process inside the machine, by its number there."""

    def __init__(self, box: Container, pid: int) -> None:
        self._proc = f"/proc/{pid}"
        self._box = box

    def rss_mib(self) -> float:
        """Returns its resident memory, shared libraries included."""
        status = self._box.read(f"{self._proc}/status")
        return int(next(line for line in status.splitlines() if "VmRSS" in line).split()[1]) / 1024

    def cpu_seconds(self) -> float:
        """Returns the CPU time since it began."""
        fields = self._box.read(f"{self._proc}/stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def table(columns: list[str], rows: list[tuple[str, list[float | None]]]) -> None:
    """Prints figures, and beside each peer's how many times that figure ours is."""
    print(f"\n{'':30}" + "".join(f"{name:>24}" for name in columns))
    for name, values in rows:
        ours = values[0]
        cells = [f"{'-' if ours is None else f'{ours:.2f}':>24}"]
        for value in values[1:]:
            ratio = f" (ours {ours / value:.2f} x)" if value and ours is not None else ""
            cells.append(f"{'-' if value is None else f'{value:.2f}' + ratio:>24}")
        print(f"{name:30}" + "".join(cells))
