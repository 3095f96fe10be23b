# SPDX-License-Identifier: Apache-2.0
"""Whether the same model still answers as it did: a fixed prompt, greedily, each start and day.

A card that computes wrongly, a library that was exchanged, weights that were written over serve on
as if nothing were wrong. Only answers of an idle engine count, as others in its batch change the
last bits (vLLM is not batch-invariant), and one that differs is asked for again before it is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum, auto

from agent.core.judges.holders.shares import gpus_of
from agent.core.judges.turn import Turn
from agent.core.settings.changes import redacted
from agent.core.state.golden import Answer, Golden, both_shown, same
from agent.core.state.observations import Verified
from agent.core.state.service import ServiceState
from agent.core.verify.check import NOT_ASKED, Check, Verdict

ITEM = "answer"
ITEM_OF_ADAPTERS = "lora_answers"
AGAIN = "asked again soon: it may be one bit in a batch"
LOOK_AT = "look at the cards (Xids, ECC), at the weights, at what was installed"

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
    """Judge the answers, and put what came of them into the verification list."""
    if done.answer is None:
        return s
    given_by = _given_by(turn, s)
    s = _with_its_own(s, given_by)
    s = _of_the_model(turn, s, done.answer, given_by)
    if done.adapters:
        return _of_adapters(turn, s, done.adapters)
    return replace(s, live=replace(s.live, doubted_adapters={})) if s.live.doubted_adapters else s


class Came(Enum):
    """What an answer is beside the one that was kept."""

    FIRST = auto()
    SAME = auto()
    DOUBTED = auto()
    CHANGED = auto()


def _came(before: Answer | None, doubt: Answer | None, now: Answer, noise: float) -> Came:
    if before is None:
        return Came.FIRST
    if same(before, now, noise):
        return Came.SAME
    return Came.CHANGED if doubt is not None and same(doubt, now, noise) else Came.DOUBTED


def _of_the_model(turn: Turn, s: ServiceState, now: Answer, given_by: str) -> ServiceState:
    known, noise = s.golden, _noise(turn, s)
    came = _came(None if known is None else known.answer, s.live.doubted_answer, now, noise)
    doubt = now if came is Came.DOUBTED else None
    s = replace(s, live=replace(s.live, doubted_answer=doubt))
    if known is None:
        first = Check(ITEM, NOT_ASKED, now.shown, Verdict.PROVEN, f"{now.shown}, the first time")
        return replace(_with(s, first), golden=Golden(turn.at, given_by, now))
    if came is Came.SAME:
        asked, proof = f"as before: {known.answer.shown}", f"the model answers {now.shown}"
        s = _with(s, Check(ITEM, asked, "the same", Verdict.PROVEN, proof))
        # What was kept without token ids has the same text: from now on they are known.
        return replace(s, golden=replace(known, answer=now)) if now.adds_to(known.answer) else s
    was, is_now = both_shown(known.answer, now)
    asked, got = f"as before: {was}", f"changed: {is_now}"
    if came is Came.DOUBTED:
        return _with(s, Check(ITEM, asked, got, Verdict.UNKNOWN, is_now, AGAIN))
    why = f"the same model on the same engine and cards answers otherwise: {was}, now {is_now}"
    turn.tell(s.name, "answer-changed", why, before=was, now=is_now)
    s = _with(s, Check(ITEM, asked, got, Verdict.CONTRADICTED, why, LOOK_AT))
    return replace(s, golden=replace(known, at=turn.at, answer=now))


def _of_adapters(turn: Turn, s: ServiceState, given: Mapping[str, Answer]) -> ServiceState:
    """Judge what LoRA adapters answered, each as the model is; one item tells of all."""
    golden, noise = s.golden, _noise(turn, s)
    assert golden is not None
    kept, doubted = dict(golden.adapters), {}
    said: dict[Came, list[str]] = {came: [] for came in Came}
    for name, now in given.items():
        before = kept.get(name)
        came = _came(before, s.live.doubted_adapters.get(name), now, noise)
        said[came].append(_told_of_adapter(turn, s, name, came, before, now))
        if came is Came.DOUBTED:
            doubted[name] = now
        elif before is None or came is Came.CHANGED or now.adds_to(before):
            kept[name] = now
    live = replace(s.live, doubted_adapters=doubted)
    s = replace(s, live=live, golden=replace(golden, adapters=kept))
    return _with(s, _check_of_adapters(said))


def _told_of_adapter(
    turn: Turn, s: ServiceState, name: str, came: Came, before: Answer | None, now: Answer
) -> str:
    """Return the sentence on one adapter; a change is told."""
    if before is None or came is Came.SAME:
        return f"{name} answers {now.shown}"
    was, is_now = both_shown(before, now)
    change = f"{was}, now {is_now}"
    if came is Came.CHANGED:
        why = f"the LoRA adapter {name} on the same model, engine and cards answers otherwise: "
        turn.tell(s.name, "answer-changed", why + change, before=was, now=is_now, adapter=name)
    return f"{name}: {change}"


def _check_of_adapters(said: Mapping[Came, list[str]]) -> Check:
    asked = f"{sum(map(len, said.values()))} LoRA adapters as before"
    evidence = "; ".join(one for came in reversed(Came) for one in said[came])
    if changed := said[Came.CHANGED]:
        got = f"changed: {'; '.join(changed)}"
        return Check(ITEM_OF_ADAPTERS, asked, got, Verdict.CONTRADICTED, evidence, LOOK_AT)
    if doubted := said[Came.DOUBTED]:
        got = f"changed: {'; '.join(doubted)}"
        return Check(ITEM_OF_ADAPTERS, asked, got, Verdict.UNKNOWN, evidence, AGAIN)
    first = len(said[Came.FIRST])
    got = f"{first} for the first time" if first else "the same"
    return Check(ITEM_OF_ADAPTERS, asked, got, Verdict.PROVEN, evidence)


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
    in_doubt = s.live.doubted_answer is not None or s.live.doubted_adapters
    return passed >= (AGAIN_SECONDS if in_doubt else DAY_SECONDS)


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
