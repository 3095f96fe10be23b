# SPDX-License-Identifier: Apache-2.0
"""What a request or a client's program threw: it ends no engine, and what it says is theirs."""

from __future__ import annotations

from agent.core.diagnosis.signatures import Signature, SignatureKind
from agent.core.failures.classes import Group
from agent.core.failures.meaning import group_of

FRAMES = frozenset({"frame-of-a-request", "frame-of-a-client"})
"""Ids of the frames of what answers one request, and of a program that asked."""

_FAILING = frozenset({SignatureKind.FAILURE, SignatureKind.WRAPPER})
_OF_SETTINGS = frozenset({Group.CONFIGURATION, Group.FILES, Group.HOST_SOFTWARE})


def may_be_theirs(signature: Signature) -> bool:
    """Tell whether a request can be refused with these words, as settings and files are."""
    failure = signature.failure
    return signature.kind in _FAILING and failure is not None and group_of(failure) in _OF_SETTINGS
