# SPDX-License-Identifier: Apache-2.0
"""The stages of vLLM's start, in the order in which it comes to them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Stage(StrEnum):
    """What a start is about. Which lines begin and end one stands with the signatures."""

    IMPORTS = "imports"
    """From the start of the process to its first words: Python imports vLLM."""

    CONFIGURATION = "configuration"
    """The API server reads the model's configuration."""

    ENGINE_CORE = "engine-core"
    """The engine's own process: the same imports once more where it is spawned."""

    WORKERS = "workers"
    """The workers' processes, their devices and the connections between them."""

    DOWNLOAD = "download"
    WEIGHTS = "weights"
    """They are read and brought into the form that the kernels take."""

    PROFILE = "profile"
    """A trial run that measures what memory is left for the KV cache."""

    COMPILE = "compile"
    KV_CACHE = "kv-cache"
    """It is allocated: seconds of page faults on a CPU, nothing worth a word on a GPU."""

    WARM_UP = "warm-up"
    """Kernels are tried and tuned."""

    GRAPHS = "graphs"
    """CUDA graphs are captured."""

    SERVER = "server"
    """From the engine's "initialized" to the server's "ready": tokenizer, routes."""

    FIRST_TOKEN = "first-token"  # noqa: S105 - a token of a model
    """The first request, of one token, as llmagent has made it: kernels may be compiled for it."""


ORDER: Mapping[Stage, int] = {
    Stage.IMPORTS: 0,
    Stage.CONFIGURATION: 1,
    Stage.ENGINE_CORE: 2,
    Stage.WORKERS: 3,
    Stage.DOWNLOAD: 4,
    Stage.WEIGHTS: 5,
    Stage.PROFILE: 6,
    Stage.COMPILE: 6,
    Stage.KV_CACHE: 6,
    Stage.WARM_UP: 6,
    Stage.GRAPHS: 6,
    Stage.SERVER: 7,
    Stage.FIRST_TOKEN: 8,
}
"""Those with one number come in an order that differs by release and device."""

SAID: Mapping[Stage, str] = {
    Stage.IMPORTS: "importing vLLM",
    Stage.CONFIGURATION: "reading the configuration",
    Stage.ENGINE_CORE: "starting the engine's process",
    Stage.WORKERS: "starting the workers",
    Stage.DOWNLOAD: "downloading",
    Stage.WEIGHTS: "loading weights",
    Stage.PROFILE: "measuring memory",
    Stage.COMPILE: "compiling",
    Stage.KV_CACHE: "making the KV cache",
    Stage.WARM_UP: "warming up",
    Stage.GRAPHS: "capturing CUDA graphs",
    Stage.SERVER: "starting the server",
    Stage.FIRST_TOKEN: "answering its first request",
}
"""What the engine does in each, as `status` says it."""
