# SPDX-License-Identifier: Apache-2.0
"""Which kinds of history lines a person is told of, how severe each is, and in which words.

A line of the history may quote an engine, a model's answer or the kernel, and a message leaves
the host. So a kind is worded here where its line is not all our own, and what is not listed is not
told.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from agent.core.record import dataclass
from agent.core.settings.notify import Severity

C, W, I = Severity.CRITICAL, Severity.WARNING, Severity.INFO  # noqa: E741


@dataclass(frozen=True, slots=True)
class Kind:
    """How a line of the history is told; `words` stand in its place where they are given."""

    severity: Severity
    words: str = ""


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "gpu-lost": Kind(C),
        "gpu-ailing": Kind(C),
        "undead": Kind(C),
        "answer-changed": Kind(
            C, "the model answers a fixed question otherwise than before: `llmagent verify`"
        ),
        "drill": Kind(C),
        "driver-problem": Kind(W),
        "heat-critical": Kind(W),
        "mismatch": Kind(W),
        "left-alone": Kind(W, "something is to be done, and nothing is, as it is paused"),
        "rolled-back": Kind(W),
        "refused": Kind(W, "agent.toml is refused, the old one stays in force: `llmagent check`"),
        "damaged": Kind(W, "something that was remembered cannot be read: `llmagent events`"),
        "effector": Kind(W, "something that was asked of the host failed: `llmagent events`"),
        "doctor": Kind(W),
        "port": Kind(W),
        "xid": Kind(W),
        "throttled": Kind(W),
        "power-blocked": Kind(W),
        "power-degraded": Kind(W),
        "power-yielded": Kind(W),
        "hang-detection": Kind(W, "whether a hang would be seen has changed: `llmagent status`"),
        "peer-away": Kind(W, "the llmagent of another host does not answer: `llmagent status`"),
        "peer-back": Kind(I, "the llmagent of another host answers again"),
        "restart-planned": Kind(I),
        "restart": Kind(I),
        "paused": Kind(I),
        "resumed": Kind(I),
        "drain": Kind(I),
        "stopped": Kind(I),
        "agent": Kind(I),
        "reload": Kind(I),
        "gpu-back": Kind(I),
        "gpu-well": Kind(I),
        "heat-warning": Kind(I),
        "heat-normal": Kind(I),
        "throttle-over": Kind(I),
        "mended": Kind(I),
        "learned": Kind(I),
        "measured": Kind(I),
        "probed": Kind(I),
        "probe": Kind(I),
    }
)

OF_AN_INCIDENT = frozenset(
    {"died", "follow", "kill", "failure", "held", "serving", "start", "forgotten"}
    | {"learned", "rolled-back", "probed", "fetch", "port", "reap"}
)
"""Kinds that `agent.core.telling.incidents` makes one story of."""

NOT_TOLD = frozenset(
    {"adopted", "configured", "decided", "driver", "ended", "evidence", "found", "generation"}
    | {"gpu-new"}
    | {"linked", "plan", "power", "power-drift", "power-lowered", "power-raised", "ready"}
    | {"ahead", "pruned", "reaped", "remedy", "settled", "started", "stop", "told", "wait", "fetch"}
)
"""Kinds that are steps of what is told otherwise, or only of use to who looks."""
