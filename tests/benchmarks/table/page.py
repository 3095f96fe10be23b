# SPDX-License-Identifier: Apache-2.0
"""The rows of README's table, and README with those of them that were measured written anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tests.benchmarks.table.figures import Run

BEGIN: Final = "<!-- what `make bench` measured: written by `python -m tests.benchmarks.table` -->"
END: Final = "<!-- the end of what `make bench` measured -->"
HEAD: Final = ("| | llmagent | peers | measured |", "|---|---|---|---|")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: what is measured, by which benchmark, and how its figures are told."""

    what: str
    part: str
    ours: str
    peers: str = ""

    def told(self, run: Run) -> str:
        """Returns the row with a run's figures; KeyError where the run lacks one."""
        cells = [self.what, self.ours.format(**run.values), self.peers.format(**run.values)]
        return f"| {' | '.join([*cells, f'{run.day}, {run.machine}'])} |"


ROWS: Final = (
    Row(
        "resident memory, Debian 12, 8 busy (simulated) H200",
        "costs",
        "{memory_mib:.1f} MiB",
        "{nvitop_memory_mib:.1f} MiB nvitop-exporter; "
        "{node_memory_mib:.1f} MiB prometheus-node-exporter",
    ),
    Row("the same on Debian 13", "costs-trixie", "{memory_mib:.1f} MiB"),
    Row(
        "CPU, share of a core",
        "costs",
        "{cpu_percent:.2f} %",
        "{nvitop_cpu_percent:.2f} % nvitop-exporter; "
        "{node_cpu_percent:.2f} % prometheus-node-exporter",
    ),
    Row(
        "scrape, p50 / p99 (series)",
        "costs",
        "{p50_ms:.1f} / {p99_ms:.1f} ms ({series:.0f})",
        "{nvitop_p50_ms:.1f} / {nvitop_p99_ms:.1f} ms nvitop-exporter ({nvitop_series:.0f}); "
        "{node_p50_ms:.1f} / {node_p99_ms:.1f} ms prometheus-node-exporter ({node_series:.0f})",
    ),
    Row(
        "NVML calls a second",
        "costs",
        "{nvml_calls:.0f}",
        "{nvitop_nvml_calls:.0f} nvitop-exporter",
    ),
    Row(
        "an engine's death to the next process, median / maximum of 20",
        "reaction",
        "{median_ms:.0f} / {maximum_ms:.0f} ms",
        "{plain_median_ms:.0f} / {plain_maximum_ms:.0f} ms `Restart=always`, `RestartSec=100ms`",
    ),
    Row(
        "journal lines a CPU second",
        "journal",
        "{lines:,.0f}",
        "{peer_lines:,.0f} `journalctl -o json` into `grep`",
    ),
    Row(
        "lines of a log file a CPU second",
        "diagnose",
        "{lines:,.0f}",
        "{grep_lines:,.0f} `grep -E` with the same patterns",
    ),
    Row(
        "`kill -9` of real vLLM's EngineCore to the first token",
        "starts",
        "{killed_seconds:.0f} s",
        "{alone_seconds:.0f} s the same unit by systemd alone, which waits until vLLM's front end "
        "has given up",
    ),
    Row(
        "two machines, real vLLM, data parallel 2: an engine of one killed, until both answer",
        "two-hosts",
        "{replicas_back_seconds:.0f} s, no person",
    ),
    Row(
        "simulated nights of random faults: served of what an all-knowing policy served",
        "nights",
        "{served_percent:.1f} % in {nights:,.0f} nights, promises broken in {broken:.0f}",
        "{restart_served_percent:.1f} % `Restart=always`",
    ),
    Row(
        "simulated nights of groups of 2 to 16 hosts: served of the time wanted",
        "nights",
        "{group_served_percent:.1f} % in {group_nights:,.0f} nights, "
        "promises broken in {group_broken:.0f}",
        "{group_restart_served_percent:.1f} % `Restart=always` on every host",
    ),
)


def standing(page: str) -> dict[str, str]:
    """Returns the rows that stand in the page, by what each measures.

    ValueError where the page does not have the two marks, one after the other.
    """
    _, table, _ = _parted(page)
    return {line.split(" | ")[0].removeprefix("| "): line for line in table.splitlines()}


def _parted(page: str) -> tuple[str, str, str]:
    before, begin, rest = page.partition(f"{BEGIN}\n")
    table, end, after = rest.partition(f"{END}\n")
    if not (begin and end):
        raise ValueError(
            f"it has no place for the table; put these two lines there:\n{BEGIN}\n{END}"
        )
    return before + begin, table, end + after


def written(page: str, runs: Mapping[str, Run]) -> str:
    """Returns the page with the rows of these runs; a row that none of them has stays as it is.

    ValueError where the page does not have the two marks, one after the other.
    """
    before, _, after = _parted(page)
    old = standing(page)
    rows = []
    for row in ROWS:
        if row.part in runs:
            rows.append(row.told(runs[row.part]))
        elif row.what in old:
            rows.append(old[row.what])
    return before + "\n".join(["", *HEAD, *rows, ""]) + "\n" + after
