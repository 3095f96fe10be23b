# SPDX-License-Identifier: Apache-2.0
"""Whether the same model still answers as it did: a fixed prompt, greedily, each start and day.

A card that computes wrongly, a library that was exchanged, weights that were written over serve on
as if nothing were wrong. Only answers of an idle engine count, as others in its batch change the
last bits (vLLM is not batch-invariant), and one that differs is asked for again before it is told.
"""

from __future__ import annotations

from dataclasses import replace

from agent.core.judges.holders.shares import gpus_of
from agent.core.judges.turn import Turn
from agent.core.settings.changes import redacted
from agent.core.state.golden import Answer, Golden, both_shown, same
from agent.core.state.observations import Verified
from agent.core.state.service import ServiceState
from agent.core.verify.check import NOT_ASKED, Check, Verdict

ITEM = "answer"
DAY_SECONDS = 86400.0
AGAIN_SECONDS = 60.0

ANSWERS_KEPT = 8
"""Of other models, engines and cards, the latest first."""

NOISE = {"float32": 0.002, "float": 0.002, "float16": 0.01, "half": 0.01}
MOST_NOISE = 0.04
"""The share of an embedding's length that rounding may move it by, by the model's dtype as the
settings name it. Of the numbers that a layer computes with, bfloat16 keeps 8 bits, float16 11 and
float32 on tensor cores (TF32) 11 of 24; a start may choose other kernels, which add up in another
order. What the checkpoint decides ("auto") counts as bfloat16, and so do 8-bit weights."""

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
    noise = _noise(turn, s)
    if same(known.answer, now, noise):
        proof = f"the model answers {now.shown}"
        s = _with(s, Check(ITEM, asked, "the same", Verdict.PROVEN, proof))
        # What was kept without token ids has the same text: from now on they are known.
        adds_ids = bool(now.tokens) and not known.answer.tokens
        return replace(s, golden=replace(known, answer=now)) if adds_ids else s
    doubt = s.live.doubted_answer
    if doubt is None or not same(doubt, now, noise):
        note = "asked again soon: it may be one bit in a batch"
        was, is_now = both_shown(known.answer, now)
        check = Check(
            ITEM, f"as before: {was}", f"changed: {is_now}", Verdict.UNKNOWN, is_now, note
        )
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


def _changed(turn: Turn, s: ServiceState, known: Golden, now: Answer) -> ServiceState:
    was, is_now = both_shown(known.answer, now)
    why = f"the same model on the same engine and cards answers otherwise: {was}, now {is_now}"
    turn.tell(s.name, "answer-changed", why, before=was, now=is_now)
    asked = f"as before: {was}"
    note = "look at the cards (Xids, ECC), at the weights, at what was installed"
    check = Check(ITEM, asked, f"changed: {is_now}", Verdict.CONTRADICTED, why, note)
    live = replace(s.live, doubted_answer=None)
    return replace(_with(s, check), live=live, golden=replace(known, at=turn.at, answer=now))


def _with(s: ServiceState, check: Check) -> ServiceState:
    return replace(s, checks=(*s.checks, check))


def _noise(turn: Turn, s: ServiceState) -> float:
    settings = s.running or turn.policy_of(s).settings
    return MOST_NOISE if settings.quantization else NOISE.get(settings.dtype or "", MOST_NOISE)


def _given_by(turn: Turn, s: ServiceState) -> str:
    settings = s.running or turn.policy_of(s).settings
    parts = [f"{name}={redacted(getattr(settings, name))}" for name in OF_THE_ANSWER]
    engine = turn.policy.engines[s.name].version if s.name in turn.policy.engines else None
    cards = ", ".join(sorted(gpu.name for gpu in gpus_of(turn, s)))
    return "; ".join([*parts, f"vLLM={engine}", f"GPUs={cards}"])
