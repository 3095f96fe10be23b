# SPDX-License-Identifier: Apache-2.0
"""Failures that may be the echo of another rank's: with gloo and NCCL a rank dies of its peer's."""

from __future__ import annotations

from agent.core.cluster.member import Cause
from agent.core.failures.classes import FailureClass

BETWEEN_RANKS = frozenset(
    {FailureClass.NCCL_ERROR, FailureClass.NCCL_TIMEOUT, FailureClass.PEER_LOST}
)
"""What is said of another rank: the cause is likely to be there, so that its word is waited for."""

ECHOES = BETWEEN_RANKS | {
    FailureClass.ENGINE_DEAD,
    FailureClass.ENGINE_HUNG,
    FailureClass.UNKNOWN,
}
"""What the death of another rank may look like from here, where that death is told already."""


def is_cause(cause: Cause | None) -> bool:
    """Tell whether it names what failed, and not what came of that elsewhere."""
    return cause is not None and cause.failure not in ("", *ECHOES)
