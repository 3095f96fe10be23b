# SPDX-License-Identifier: Apache-2.0
"""Whether the same model still answers as it did: a fixed prompt, greedily, each start and day.

A card that computes wrongly, a library that was exchanged, weights that were written over serve on
as if nothing were wrong. Only answers of an idle engine count, as others in its batch change the
last bits (vLLM is not batch-invariant), and one that differs is asked for again before it is told.
"""

from __future__ import annotations

import math
from dataclasses import replace

from agent.core.judges.holders.shares import gpus_of
from agent.core.judges.turn import Turn
from agent.core.settings.changes import redacted
from agent.core.state.golden import Answer, Golden
from agent.core.state.observations import Verified
from agent.core.state.service import ServiceState
from agent.core.verify.check import NOT_ASKED, Check, Verdict

ITEM = "answer"
DAY_SECONDS = 86400.0
AGAIN_SECONDS = 60.0

ANSWERS_KEPT = 8
"""Of other models, engines and cards, the latest first."""

LEAST_COSINE = 0.999
"""Between two embeddings of one text; rounding of 16-bit numbers leaves more than 0.9999."""

OF_THE_ANSWER = (
    *("model", "revision", "tokenizer", "dtype", "quantization", "kv_cache_dtype"),
    *("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"),
    *("enable_expert_parallel", "enforce_eager", "extra_args", "engine"),
)
"""Settings that an answer depends on."""


def compare(turn: Turn, s: ServiceState, done: Verified) -> ServiceState:
    """Judge the answer, and put what came of it into the verification list."""
    if done.answer is None:
        return s
    now, given_by = done.answer, _given_by(turn, s)
    s = _with_its_own(s, given_by)
    known = s.golden
    if known is None:
        first = Check(ITEM, NOT_ASKED, now.shown, Verdict.PROVEN, f"{now.shown}, the first time")
        return replace(_with(s, first), golden=Golden(turn.at, given_by, now))
    asked = f"as before: {known.answer.shown}"
    if same(known.answer, now):
        proof = f"the model answers {now.shown}"
        return _with(s, Check(ITEM, asked, "the same", Verdict.PROVEN, proof))
    doubt = s.live.doubted_answer
    if doubt is None or not same(doubt, now):
        note = "asked again soon: it may be one bit in a batch"
        check = Check(ITEM, asked, f"changed: {now.shown}", Verdict.UNKNOWN, now.shown, note)
        return replace(_with(s, check), live=replace(s.live, doubted_answer=now))
    return _changed(turn, s, known, now)


def _with_its_own(s: ServiceState, given_by: str) -> ServiceState:
    """Return the service with the answer that this very model, engine and cards gave, if any did.

    So who goes back to an earlier engine, or gets a card back, is still told of a change.
    """
    known = s.golden
    if known is None or known.given_by == given_by:
        return s
    others = [one for one in s.golden_elsewhere if one.given_by != known.given_by]
    kept = (known, *others)[:ANSWERS_KEPT]
    back = next((one for one in kept if one.given_by == given_by), None)
    return replace(s, golden=back, golden_elsewhere=kept)


def is_due(turn: Turn, s: ServiceState) -> bool:
    """Tell whether the list is to be run again: a day is over, or an answer is in doubt."""
    passed = turn.at - max(s.live.verify_at, turn.started_at)
    return passed >= (DAY_SECONDS if s.live.doubted_answer is None else AGAIN_SECONDS)


def same(one: Answer, other: Answer) -> bool:
    """Tell whether two answers are the same but for the noise of rounding."""
    if not one.numbers:
        return one == other
    if len(one.numbers) != len(other.numbers):
        return False
    norms = math.hypot(*one.numbers) * math.hypot(*other.numbers)
    return norms > 0 and _product(one, other) / norms >= LEAST_COSINE


def _product(one: Answer, other: Answer) -> float:
    return math.fsum(a * b for a, b in zip(one.numbers, other.numbers, strict=True))


def _changed(turn: Turn, s: ServiceState, known: Golden, now: Answer) -> ServiceState:
    why = (
        f"the same model on the same engine and cards answers otherwise: {known.answer.shown}, "
        f"now {now.shown}"
    )
    turn.tell(s.name, "answer-changed", why, before=known.answer.shown, now=now.shown)
    asked = f"as before: {known.answer.shown}"
    note = "look at the cards (Xids, ECC), at the weights, at what was installed"
    check = Check(ITEM, asked, f"changed: {now.shown}", Verdict.CONTRADICTED, why, note)
    live = replace(s.live, doubted_answer=None)
    return replace(_with(s, check), live=live, golden=replace(known, at=turn.at, answer=now))


def _with(s: ServiceState, check: Check) -> ServiceState:
    return replace(s, checks=(*s.checks, check))


def _given_by(turn: Turn, s: ServiceState) -> str:
    settings = s.running or turn.policy_of(s).settings
    parts = [f"{name}={redacted(getattr(settings, name))}" for name in OF_THE_ANSWER]
    engine = turn.policy.engines[s.name].version if s.name in turn.policy.engines else None
    cards = ", ".join(sorted(gpu.name for gpu in gpus_of(turn, s)))
    return "; ".join([*parts, f"vLLM={engine}", f"GPUs={cards}"])
