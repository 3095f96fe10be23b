# SPDX-License-Identifier: Apache-2.0
"""The words of `llmagent plan`, divided into its own, vLLM's options, and a whole command line."""

from __future__ import annotations

from collections.abc import Sequence

from agent.core.command.options import Kind
from agent.core.command.spelling import option_named
from agent.core.record import dataclass

VALUED = frozenset(
    {
        *("--config", "--config-json", "--model", "--gpu", "--gpu-name", "--gpu-memory-gib"),
        *("--free-gib", "--weights-gib", "--vllm-version", "--format", "--status", "--prices"),
    }
)
ALONE = frozenset({"--cards", "--formats", "--sweep", "--help", "-h"})


@dataclass(frozen=True, slots=True)
class Divided:
    """`own` are plan's words, `vllm` options of vLLM, `line` what stands behind "--", if any."""

    own: tuple[str, ...]
    vllm: tuple[str, ...] = ()
    line: tuple[str, ...] | None = None


def divide(words: Sequence[str]) -> Divided:
    """Divide the words behind `llmagent plan`; an option that neither knows is left to plan."""
    own: list[str] = []
    vllm: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            return Divided(tuple(own), tuple(vllm), tuple(left))
        flag, joined, _ = word.partition("=")
        if flag in VALUED or flag in ALONE or not _is_option(word):
            own.append(word)
            if flag in VALUED and not joined and left:
                own.append(left.pop(0))
            continue
        kind = option_named(flag.split(".", 1)[0]).kind
        if kind is Kind.UNKNOWN and not flag.startswith("-O"):
            own.append(word)
            continue
        vllm.append(word)
        takes = kind not in (Kind.PAIRED, Kind.ALONE) or "." in flag
        if takes and not joined and left and not _is_option(left[0]):
            vllm.append(left.pop(0))
    return Divided(tuple(own), tuple(vllm))


def _is_option(word: str) -> bool:
    return len(word) > 1 and word.startswith("-") and not word[1:].replace(".", "", 1).isdecimal()
