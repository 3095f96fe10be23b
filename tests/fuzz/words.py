# SPDX-License-Identifier: Apache-2.0
"""Borders at which operators and other hosts say something."""

from __future__ import annotations

import contextlib
import json

from agent.core.cluster.member import member_of
from agent.core.state.steering.requests import BadRequestError, request_of
from tests.fuzz.driver import Border


def control() -> Border:
    """Return the border of the control socket's requests."""

    def take(content: bytes) -> None:
        with contextlib.suppress(BadRequestError):
            request_of(content.decode("utf-8", "replace"))

    seeds = (
        b'{"do": "pause", "service": "vllm", "seconds": 7200}',
        b'{"do": "resume"}',
        b'{"do": "restart", "service": "vllm", "time_of_day": 10800, "every_day": true}',
        b'{"do": "drain", "service": "vllm", "seconds": 600}',
    )
    words = (b'"do": ', b'"seconds": ', b'"when_idle": ', b'"cancel": ', b"true", b"null")
    return Border("control", take, seeds, words)


def cluster() -> Border:
    """Return the border of another host's word on its rank."""

    def take(content: bytes) -> None:
        with contextlib.suppress(ValueError, RecursionError):
            document = json.loads(content)
            if isinstance(document, dict):
                member_of(document, "vllm")

    word = {
        "member": 1,
        "generation": {"number": 3, "begun_by": 0},
        "stance": "ready",
        "reason": "waits",
        "sees": [0],
        "cause": {
            "sentence": "worker-died: x",
            "failure": "worker-died",
            "host": "",
            "planned": False,
        },
        "paused_by": "root",
        "paused_seconds": 60.5,
        "lessons": {"max_num_seqs": {"value": 8, "version": 1, "by": 0, "why": "x"}},
        "same": {"vLLM": "0.32.0"},
    }
    seed = {"format": 1, "host": "gpu-b", "services": {"vllm": word}}
    return Border("cluster", take, (json.dumps(seed).encode(),), (b'"stance": ', b"null", b"true"))
