# SPDX-License-Identifier: Apache-2.0
"""From the story of a run to its outcome, its cause and the lines that prove it."""

from __future__ import annotations

import re
from dataclasses import replace

from agent.core.diagnosis.concluding.allocations import Settled, ours, settle
from agent.core.diagnosis.concluding.sentences import KILLED, UNUSED, WAITING
from agent.core.diagnosis.facts import Facts
from agent.core.diagnosis.failure_lines import FailureLine
from agent.core.diagnosis.lines import seconds_between
from agent.core.diagnosis.numbers import Numbers
from agent.core.diagnosis.run import Run
from agent.core.diagnosis.weights import HINT, NOTE, WRAPPER
from agent.core.failures.classes import EnginePhase, FailureClass, Group, Outcome
from agent.core.failures.meaning import group_of
from agent.core.failures.xids import XidAction
from agent.core.failures.xids import xid_action as action_of
from agent.core.record import dataclass

MAX_EVIDENCE = 5

BLOCKED_MINUTES = 5
"""Minutes in which a ready engine's processes waited for each other: longer is a hang."""

IDLE_STATS = 6
"""Periodic lines (10 s each) with requests running and no token in or out: a hang."""

PROBES = 12
"""Health probes at least one per PROBE_SECONDS without one answered request, then a stop: somebody
watched an engine that gave nothing."""

PROBE_SECONDS = 2.0

SWALLOWED_SINCE = (0, 16)

_NOT_FETCHED = frozenset(
    {FailureClass.MODEL_PATH, FailureClass.WEIGHTS_MISSING, FailureClass.TOKENIZER_MISSING}
)
"""What vLLM says of a model whose files it could not fetch, as of one that is not there."""

_OF_THE_WORLD = frozenset({Group.HUB, Group.HOST, Group.FILES})
_OF_VLLM_ITSELF = frozenset({FailureClass.ENGINE_BUG, FailureClass.KERNEL_LIBRARY})

_SAID_OF_FILES = frozenset({FailureClass.WEIGHTS_MISMATCH, FailureClass.TOKENIZER_MISSING})
"""What an exception of vLLM's own may be where it reads files that are whole."""

_HUB_AWAY = frozenset({FailureClass.HUB_UNREACHABLE, FailureClass.HUB_RATE_LIMIT})

_DEGRADING = frozenset({FailureClass.CHAT_TEMPLATE_MISSING, FailureClass.OOM_WAKE_UP})
_SILENT_ACCESS_LOG = ("disable_uvicorn_access_log", "uvicorn_log_level", "disable_access_log")


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What a run came to; `finding` carries the numbers of the cause, where it printed any.

    `advice` is what the whole log says to do, `guessed` and `beyond_settings` as in Settled.
    """

    outcome: Outcome
    failure: FailureClass | None
    evidence: tuple[str, ...]
    also: tuple[FailureClass, ...] = ()
    finding: FailureLine | None = None
    advice: str = ""
    guessed: bool = False
    beyond_settings: bool = False


def judge(run: Run) -> Conclusion:
    """Return the verdict on what was read so far."""
    findings = run.findings.by_weight(came_up=run.tracebacks.at_work)
    dead = run.tracebacks.deadly is not None and not run.stopping
    if any(f.ends or (dead and f.past and f.weight < HINT) for f in findings):
        return _failed(run, findings)
    if dead and run.tracebacks.deadly is not None:
        return Conclusion(Outcome.FAILED, FailureClass.UNKNOWN, (run.tracebacks.deadly,))
    hang = _hang(run)
    if hang is not None:
        return hang
    if run.boot_line:
        last = run.served.last_line or run.phase_line
        lines = tuple(line for line in (run.boot_line, last) if line)
        return Conclusion(Outcome.FAILED, FailureClass.HOST_RESET, lines)
    if run.leftover_line and not run.stopping:
        return _killed_without_a_word(run)
    if run.fallbacks:
        return _degraded(run)
    if run.stopping:
        return _stopped(run)
    if run.exit_status:
        return Conclusion(Outcome.FAILED, FailureClass.UNKNOWN, (run.exit_line,))
    if notes := [f for f in findings if f.weight >= NOTE]:
        return _noted(run, notes)
    if run.ready:
        return Conclusion(Outcome.READY, None, (run.ready_line,) if run.ready_line else ())
    if (bare := run.tracebacks.bare) is not None and not run.phase_line:
        failure, advice = run.places.said_alone(bare.text)
        return Conclusion(Outcome.FAILED, failure, (bare.text,), advice=advice)
    if run.recognised:
        evidence = (run.phase_line,) if run.phase_line else ()
        return Conclusion(Outcome.RUNNING, None, evidence)
    return Conclusion(Outcome.UNKNOWN, None, ())


def _killed_without_a_word(run: Run) -> Conclusion:
    """Python's tracker cleans up behind processes that ended, and nobody asked them to."""
    lines = [run.leftover_line, run.served.last_line or run.ready_line or run.phase_line]
    evidence = tuple(line for line in lines if line)
    return Conclusion(Outcome.FAILED, FailureClass.ENGINE_DEAD, evidence, advice=KILLED)


def _failed(run: Run, findings: list[FailureLine]) -> Conclusion:
    cause = _hub_was_away(findings) or _what_no_warning_explains(findings) or findings[0]
    if run.in_container and cause.in_container is not None:
        cause = replace(cause, failure=cause.in_container, advice="")
    also = _others(cause.failure, [f.failure for f in findings] + list(run.fallbacks))
    evidence = [cause.line]
    if cause.weight >= WRAPPER and run.tracebacks.deadly is not None:
        evidence = [run.tracebacks.deadly, *(f.line for f in findings)]
        lines = tuple(dict.fromkeys(evidence))[:MAX_EVIDENCE]
        also = _others(FailureClass.UNKNOWN, [f.failure for f in findings])
        cause = replace(cause, advice="")
        return Conclusion(Outcome.FAILED, FailureClass.UNKNOWN, lines, also, cause)
    told, bare = [f.line for f in findings], run.tracebacks.bare
    if cause.weight >= WRAPPER and bare is not None and bare.text not in told:
        lines = tuple(dict.fromkeys([bare.text, *told]))[:MAX_EVIDENCE]
        failure, advice = run.places.said_alone(bare.text)
        cause = replace(cause, failure=failure, advice="")
        return Conclusion(Outcome.FAILED, failure, lines, also, cause, advice)
    if group_of(cause.failure) is Group.MEMORY and run.phase_line:
        evidence.append(run.phase_line)
    evidence += [f.line for f in findings]
    unproved = cause.placed is not None and cause.by_place and cause.placed.unproved
    settled = Settled(cause.failure, guessed=unproved, beyond_settings=_names_no_file(cause))
    if group_of(cause.failure) is Group.MEMORY:
        settled = settle(cause, run.findings, run.book.facts())
    failure = settled.failure
    degraded = run.ready and failure in _DEGRADING and not _died(findings)
    outcome = Outcome.DEGRADED if degraded else Outcome.FAILED
    lines = tuple(dict.fromkeys(evidence))[:MAX_EVIDENCE]
    also = _others(failure, list(also))
    return Conclusion(
        outcome,
        failure,
        lines,
        also,
        cause,
        settled.advice,
        settled.guessed,
        settled.beyond_settings,
    )


def _names_no_file(cause: FailureLine) -> bool:
    """Tell whether nothing but the place of an exception speaks of the model's files.

    What is thrown where they are read is vLLM's own fault as often: fetching them cures nothing.
    """
    placed = cause.placed if cause.by_place else None
    return placed is not None and not placed.by_words and cause.failure in _SAID_OF_FILES


def _died(findings: list[FailureLine]) -> bool:
    return any(f.weight == WRAPPER for f in findings)


def _hub_was_away(findings: list[FailureLine]) -> FailureLine | None:
    """A hub that gave up answering, where all that is said at the end is that files are missing."""
    if findings[0].failure not in _NOT_FETCHED:
        return None
    return next((f for f in findings if f.soft and f.failure in _HUB_AWAY), None)


def _what_no_warning_explains(findings: list[FailureLine]) -> FailureLine | None:
    """A fault of vLLM's own code, where all that comes before it is a warning of hub or host."""
    first, hard = findings[0], [f for f in findings if f.ends and not f.soft and f.weight < WRAPPER]
    away = first.soft and group_of(first.failure) in _OF_THE_WORLD
    return hard[0] if away and hard and hard[0].failure in _OF_VLLM_ITSELF else None


def _hang(run: Run) -> Conclusion | None:
    served = run.served
    if served.blocked >= BLOCKED_MINUTES or served.idle_stats >= IDLE_STATS:
        return Conclusion(Outcome.FAILED, FailureClass.ENGINE_HUNG, (served.idle_line,))
    if served.waits >= BLOCKED_MINUTES and not (run.ready or run.started or run.phase_line):
        waited, hung = (served.idle_line,), FailureClass.ENGINE_HUNG
        return Conclusion(Outcome.FAILED, hung, waited, advice=WAITING, guessed=True)
    if _watched_in_vain(run):
        said = f"{served.probes} health probes answered and no request completed before the stop"
        lines = (said, served.last_line)
        also = _others(FailureClass.ENGINE_HUNG, [run.asked] if run.asked else [])
        return Conclusion(Outcome.FAILED, FailureClass.ENGINE_HUNG, lines, also)
    return None


def _watched_in_vain(run: Run) -> bool:
    served = run.served
    if not (run.stopping and run.ready and run.asked) or served.answers_ever:
        return False
    seconds = seconds_between(run.ready_stamp, run.asked_stamp)
    return served.probes >= PROBES and seconds <= served.probes * PROBE_SECONDS


def _degraded(run: Run) -> Conclusion:
    failures = list(run.fallbacks)
    also = failures[1:] + ([run.asked] if run.stopping and run.asked else [])
    lines = tuple(run.fallbacks.values())[:MAX_EVIDENCE]
    return Conclusion(Outcome.DEGRADED, failures[0], lines, _others(failures[0], also))


def _stopped(run: Run) -> Conclusion:
    evidence = [line for line in (run.asked_line, run.stop_line) if line]
    if run.asked_before_ready:
        evidence.insert(0, run.asked_before_ready)
        failure = FailureClass.SIGTERM_IGNORED_AT_STARTUP
    elif run.asked is FailureClass.SHUTDOWN_DRAIN:
        failure = FailureClass.SHUTDOWN_DRAIN
    elif run.waited_for_connections:
        failure = FailureClass.SHUTDOWN_OPEN_CONNECTION
    elif _nobody_ever_came(run):
        evidence.append("no request of any kind between ready and the stop")
        failure = FailureClass.SIGTERM_IGNORED_AT_STARTUP
        lines = tuple(evidence[:MAX_EVIDENCE])
        return Conclusion(Outcome.STOPPED, failure, lines, advice=UNUSED)
    else:
        failure = FailureClass.SHUTDOWN_SIGTERM
    return Conclusion(Outcome.STOPPED, failure, tuple(evidence[:MAX_EVIDENCE]))


def _nobody_ever_came(run: Run) -> bool:
    """A server that was started, came up and was never asked anything: its stop came too early.

    vLLM 0.16..0.32 swallow a SIGTERM during start-up without a word; this is all that shows.
    """
    release = tuple(int(part) for part in re.findall(r"\d+", run.version or "")[:2])
    if release < SWALLOWED_SINCE:
        return False
    asked = str(run.book.get("non_default_args") or "")
    return (
        run.ready
        and run.started
        and run.asked is not None
        and not run.served.last_line
        and not run.served.answers_ever
        and not any(option in asked for option in _SILENT_ACCESS_LOG)
    )


def _noted(run: Run, findings: list[FailureLine]) -> Conclusion:
    cause = findings[0]
    code = int(cause.numbers.get("xid", 0))
    harmless = run.ready or action_of(code) is XidAction.NOTE
    outcome = Outcome.DEGRADED if harmless else Outcome.FAILED
    lines = tuple(dict.fromkeys(f.line for f in findings))[:MAX_EVIDENCE]
    also = _others(cause.failure, [f.failure for f in findings])
    return Conclusion(outcome, cause.failure, lines, also, cause)


def _others(failure: FailureClass, failures: list[FailureClass]) -> tuple[FailureClass, ...]:
    return tuple(name for name in dict.fromkeys(failures) if name is not failure)


def phase_shown(run: Run) -> EnginePhase:
    """Return how far the run came."""
    return EnginePhase.STOPPING if run.ready and run.stopping else run.phase


def phase_of(run: Run, verdict: Conclusion) -> EnginePhase:
    """Return the phase that a verdict is about: of a part of a log its tracebacks may tell it."""
    if verdict.outcome is Outcome.FAILED and run.tracebacks.at_work and not run.stopping:
        return EnginePhase.SERVING
    return phase_shown(run)


def numbers_of(verdict: Conclusion, facts: Facts) -> Numbers:
    """Return the numbers of the cause, with what the engine said of itself where they lack it."""
    found = verdict.finding
    printed = dict(ours(found.numbers, found.line)) if found is not None else {}
    if verdict.failure is None or group_of(verdict.failure) is not Group.MEMORY:
        return Numbers(**printed)  # type: ignore[arg-type]
    if (kv_tokens := printed.get("kv_tokens")) is not None:
        printed.setdefault("estimated_max_model_len", kv_tokens)
    said = {
        "available_kv_gib": facts.available_kv_gib,
        "utilization": facts.gpu_memory_utilization,
        "total_gib": facts.total_gib,
        "max_model_len": facts.max_model_len,
        "max_num_seqs": facts.max_num_seqs,
        "max_num_batched_tokens": facts.max_num_batched_tokens,
        "cuda_graph_estimate_gib": facts.cuda_graph_estimate_gib,
        "equivalent_utilization": facts.equivalent_utilization,
    }
    for name, value in said.items():
        if value is not None:
            printed.setdefault(name, value)
    return Numbers(**printed)  # type: ignore[arg-type]
