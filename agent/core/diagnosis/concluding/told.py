# SPDX-License-Identifier: Apache-2.0
"""What a conclusion tells besides its class: what to do, from where, and whether it may pass."""

from __future__ import annotations

from agent.core.diagnosis.concluding.conclusion import Conclusion
from agent.core.diagnosis.placement.options import what_to_do
from agent.core.diagnosis.weights import SYMPTOM
from agent.core.failures.meaning import advice_for_class, transient


def may_pass(verdict: Conclusion) -> bool | None:
    """Return whether the same settings may succeed next time; None where the log cannot tell."""
    open_question = verdict.finding is not None and verdict.finding.undecided
    if verdict.failure is None or verdict.guessed or open_question:
        return None
    return transient(verdict.failure)


def advice_of(verdict: Conclusion) -> str:
    """Return the sentence of the cause's own line, with the exception and its place."""
    finding = verdict.finding
    if verdict.advice or finding is None or verdict.failure is None:
        return verdict.advice
    told = finding.advice or what_to_do(verdict.failure, finding.line)
    near = not finding.by_place and (bool(finding.advice) or finding.weight < SYMPTOM)
    if finding.placed is None or near:
        return told if told != advice_for_class(verdict.failure) else ""
    return f"{finding.placed.sentence}. {told}"


def place_of(verdict: Conclusion) -> str:
    """Return a text that is the same when the same exception comes from the same place again."""
    finding = verdict.finding
    return finding.placed.fingerprint if finding is not None and finding.placed is not None else ""
