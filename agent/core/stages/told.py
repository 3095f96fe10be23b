# SPDX-License-Identifier: Apache-2.0
"""What a start took, against what it usually takes, in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from agent.core.stages.stage import Stage

Seconds = Mapping[Stage, float]

LONGER_SECONDS = 5.0
LONGER_SHARE = 0.2
"""A start or a stage is longer than usual by so many seconds and by so much of the usual time."""

SHOWN_SECONDS = 0.5
"""Stages that took less are not named."""


def usual(starts: Sequence[Seconds]) -> Seconds:
    """Return the median of each stage over earlier starts; a stage that one lacks took 0 s."""
    names = [stage for stage in Stage if any(stage in start for start in starts)]
    return {stage: _median([start.get(stage, 0.0) for start in starts]) for stage in names}


def _median(values: list[float]) -> float:
    middle, ordered = len(values) // 2, sorted(values)
    return ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def is_longer(seconds: float, than: float) -> bool:
    """Tell whether it is longer than usual, by more than starts differ."""
    return seconds - than > max(LONGER_SECONDS, LONGER_SHARE * than)


def listed(seconds: Mapping[str, float]) -> str:
    """Return "start 41 s, verify 2 s" of what took a noticeable time; "" where nothing did."""
    return ", ".join(f"{name} {n:.0f} s" for name, n in seconds.items() if n >= SHOWN_SECONDS)


def compared(seconds: Seconds, before: Sequence[Seconds]) -> str:
    """Return how much longer than usual a start was and in which stages; "" where it was not."""
    if not before:
        return ""
    expected = usual(before)
    took, usually = sum(seconds.values()), sum(expected.values())
    if not is_longer(took, usually):
        return ""
    return f"{took - usually:.0f} s longer than usual" + _stages(seconds, expected)


def _stages(seconds: Seconds, expected: Seconds) -> str:
    slower = {stage: n - expected.get(stage, 0.0) for stage, n in seconds.items()}
    most = max(slower, key=lambda stage: slower[stage], default=None)
    named = [s for s in Stage if s is most or is_longer(seconds.get(s, 0.0), expected.get(s, 0.0))]
    said = [f"{s} {slower[s]:.0f} s" for s in named if slower.get(s, 0.0) > 0]
    return f" (of that {', '.join(said)})" if said else ""


def in_order(seconds: Seconds) -> dict[str, float]:
    """Return the stages by name in their order."""
    return {stage.value: seconds[stage] for stage in Stage if stage in seconds}


def compiled_again(
    seconds: Seconds, before: Sequence[Seconds], artifact: str | None, graphs: str | None, why: str
) -> Iterator[str]:
    """Give the sentence about a start that compiled although the same settings had served before.

    `artifact` and `graphs` are the facts `aot_artifact` and `compiled_graphs`, `why` what torch
    said.
    """
    took = seconds.get(Stage.COMPILE, 0.0)
    if not before or took < SHOWN_SECONDS:
        return
    anew = artifact == "made anew" and graphs is None
    if graphs == "compiled" or anew:
        yield f"compiled again though nothing was changed, {took:.0f} s: the cache was not used"
    elif artifact == "could not be loaded":
        reason = f" ({why})" if why else ""
        yield f"compiled again, {took:.0f} s: vLLM cannot load what it stored{reason}"
