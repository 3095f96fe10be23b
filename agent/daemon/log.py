# SPDX-License-Identifier: Apache-2.0
"""The agent's own log: one line an event on stderr, with the priority that journald understands."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import Final

from agent.core.plain import plain, plain_lines

PRIORITY: Final = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}
"""sd-daemon(3) levels by those of logging."""

log: Final = logging.getLogger("llmagent")
"""What an event is about stands in `extra=about(...)`."""


def about(service: str = "", **pairs: object) -> Mapping[str, object]:
    """Return what stands beside a sentence: the service before it, the pairs behind it."""
    return {"service": service, "pairs": pairs}


def configure() -> None:
    """Set the log up; prefixes like <6> are written only when journald reads stderr."""
    journald = "JOURNAL_STREAM" in os.environ
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_ForJournald() if journald else _ForTerminal())
    log.handlers = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
    # A stderr that is gone or full must not bring a traceback with every line.
    logging.raiseExceptions = False


class _ForTerminal(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname.lower()}: {plain_lines(_text(record))}"


class _ForJournald(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = plain(_text(record).replace("\n", " / "))
        return f"<{PRIORITY.get(record.levelno, 6)}>{text}"


def _text(record: logging.LogRecord) -> str:
    service, pairs = getattr(record, "service", ""), getattr(record, "pairs", {})
    beside = " ".join(f"{key}={value}" for key, value in pairs.items() if value not in ("", None))
    parts = (f"{service}:" if service else "", record.getMessage(), beside)
    return " ".join(part for part in parts if part)
