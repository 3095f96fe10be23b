# SPDX-License-Identifier: Apache-2.0
"""The shipped dashboards, as tests look at them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.rig.paths import REPO

FILE: Final = REPO / "etc/grafana/llmagent.json"
FLEET: Final = REPO / "etc/grafana/llmagent-fleet.json"
RATE_INTERVAL: Final = "30s"
"""What Grafana makes of $__rate_interval: four scrapes, here of a few seconds."""


def read(file: Path = FILE) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def panels(file: Path = FILE) -> list[dict[str, Any]]:
    """Returns the panels that show something."""
    return [panel for panel in read(file)["panels"] if panel["type"] != "row"]


def queries(file: Path = FILE) -> Iterator[tuple[str, str]]:
    """Yields where each query is, and the query as Prometheus gets it with all selected."""
    for panel in panels(file):
        for target in panel["targets"]:
            yield f"{panel['title']}, {target['refId']}", filled_in(target["expr"])
    for marks in read(file)["annotations"]["list"]:
        if "expr" in marks:
            yield f"marks, {marks['name']}", filled_in(marks["expr"])


def filled_in(expression: str) -> str:
    expression = expression.replace("$__rate_interval", RATE_INTERVAL)
    return re.sub(r'"\$\w+"', '".*"', expression)
