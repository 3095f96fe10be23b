# SPDX-License-Identifier: Apache-2.0
"""What one check of the doctor came to."""

from __future__ import annotations

from enum import StrEnum

from agent.core.record import dataclass


class Result(StrEnum):
    """`FAIL`: a start fails, now or after the next restart; `SKIPPED`: it does not matter here."""

    OK = "ok"
    WARNING = "warning"
    FAIL = "fail"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check, what shows it, and what to do; `service` is "" for the whole host."""

    check: str
    result: Result
    evidence: str
    fix: str = ""
    service: str = ""


def ok(check: str, evidence: str, service: str = "") -> Finding:
    """Return a check that passed."""
    return Finding(check, Result.OK, evidence, service=service)


def warning(check: str, evidence: str, fix: str, service: str = "") -> Finding:
    """Return something that will hurt one day, or hurts a little now."""
    return Finding(check, Result.WARNING, evidence, fix, service)


def fail(check: str, evidence: str, fix: str, service: str = "") -> Finding:
    """Return something that makes a start fail."""
    return Finding(check, Result.FAIL, evidence, fix, service)


def unknown(check: str, evidence: str, fix: str = "", service: str = "") -> Finding:
    """Return a check that could not be made."""
    return Finding(check, Result.UNKNOWN, evidence, fix, service)


def skipped(check: str, evidence: str, service: str = "") -> Finding:
    """Return a check that does not matter on this host."""
    return Finding(check, Result.SKIPPED, evidence, service=service)
