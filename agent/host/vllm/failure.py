# SPDX-License-Identifier: Apache-2.0
"""Why a call of vLLM's HTTP API brought no answer."""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

from agent.core.record import dataclass


class FailureKind(StrEnum):
    """Why a call brought no answer."""

    REFUSED = "refused"
    TIMEOUT = "timeout"
    BROKEN = "broken"
    HTTP_STATUS = "http-status"
    ENGINE_ERROR = "engine-error"
    GARBAGE = "garbage"
    UNTRUSTED = "untrusted"


@dataclass(frozen=True, slots=True)
class ApiFailure:
    """A call without an answer; `status` is the HTTP status where there was one."""

    kind: FailureKind
    detail: str
    status: int | None = None

    def __str__(self) -> str:
        """Return one sentence for a person."""
        match self.kind:
            case FailureKind.REFUSED:
                return f"nothing listens: {self.detail}"
            case FailureKind.TIMEOUT:
                return f"no answer in time: {self.detail}"
            case FailureKind.BROKEN:
                return f"the connection broke: {self.detail}"
            case FailureKind.HTTP_STATUS:
                return f"HTTP {self.status}: {self.detail}"
            case FailureKind.ENGINE_ERROR:
                return f"an error in place of an answer: {self.detail}"
            case FailureKind.UNTRUSTED:
                return f"not asked: {self.detail}"
            case FailureKind.GARBAGE:
                return f"not vLLM's answer: {self.detail}"
            case _:
                assert_never(self.kind)
