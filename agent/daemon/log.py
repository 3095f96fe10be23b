# SPDX-License-Identifier: Apache-2.0
"""The agent's own log: one line an event on stderr, with the priority that journald understands."""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from agent.core.plain import plain, plain_lines

PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""sd-daemon(3) levels by structlog's method names."""


def configure() -> None:
    """Set structlog up; prefixes like <6> are written only when journald reads stderr."""
    journald = "JOURNAL_STREAM" in os.environ
    structlog.configure(
        processors=[_render_for_journald if journald else _render_for_terminal],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def _render(event: MutableMapping[str, Any]) -> str:
    text = str(event.pop("event"))
    service = event.pop("service", "")
    pairs = " ".join(f"{key}={value}" for key, value in event.items() if value not in ("", None))
    return " ".join(part for part in (f"{service}:" if service else "", text, pairs) if part)


def _render_for_journald(_logger: object, method: str, event: MutableMapping[str, Any]) -> str:
    text = plain(_render(event).replace("\n", " / "))
    return f"<{PRIORITY.get(method, 6)}>{text}"


def _render_for_terminal(_logger: object, method: str, event: MutableMapping[str, Any]) -> str:
    return f"{method}: {plain_lines(_render(event))}"
