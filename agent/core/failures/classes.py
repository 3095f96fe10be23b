# SPDX-License-Identifier: Apache-2.0
"""The names of what can be wrong, how far a start has come, and how a run ended.

The values are a contract: metrics labels, JSON keys, tests and operators' own alerts use them.
"""

from __future__ import annotations

from enum import EnumType, StrEnum
from typing import TYPE_CHECKING

from agent.core.failures.shipped import CLASSES, CLASSES_OF_XIDS


class EnginePhase(StrEnum):
    """How far vLLM has come, in the order in which it goes through them."""

    STARTING = "starting"
    DOWNLOADING = "downloading"
    LOADING = "loading"
    PROFILING = "profiling"
    COMPILING = "compiling"
    CAPTURING = "capturing"
    WARMING_UP = "warming-up"
    SERVING = "serving"
    STOPPING = "stopping"


class Outcome(StrEnum):
    """What a log says of the run it tells of, up to its last line."""

    READY = "ready"
    FAILED = "failed"
    DEGRADED = "degraded"
    STOPPED = "stopped"
    RUNNING = "running"
    UNKNOWN = "unknown"


class Kind(StrEnum):
    """Who can cure a failure.

    TRANSIENT: a new start may succeed as it is. PERMANENT: the same settings fail again, others
    may not. HUMAN: nothing that the agent may do helps.
    """

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    HUMAN = "human"


class Group(StrEnum):
    """What a failure is about; the rows of the manual."""

    MEMORY = "memory"
    ENGINE = "engine"
    CUDA = "cuda"
    HARDWARE = "hardware"
    HOST_SOFTWARE = "host-software"
    HUB = "hub"
    HOST = "host"
    FILES = "files"
    CONFIGURATION = "configuration"
    PORT = "port"
    BUILD = "build"
    SHUTDOWN = "shutdown"
    FALLBACK = "fallback"
    UNKNOWN = "unknown"


class _NamesOfTheTable(EnumType):
    """For the type checker: names come from data. tests/project holds the code to the real ones."""

    if TYPE_CHECKING:

        def __getattr__(cls, name: str) -> FailureClass: ...


class FailureClass(StrEnum, metaclass=_NamesOfTheTable):
    """A cause: one for each entry of agent/failures/classes.toml, then one for each Xid.

    "oom-kv-none" is FailureClass.OOM_KV_NONE. The Xids are those that NVIDIA's catalogue uses or
    drivers still print (the codes with an action in agent/xids/catalogue.toml); all others are
    XID_OTHER.
    """

    _ignore_ = "slug"
    for slug in (*CLASSES, *(f"xid-{code}" for code in CLASSES_OF_XIDS), "xid-other"):
        vars()[slug.upper().replace("-", "_")] = slug
