# SPDX-License-Identifier: Apache-2.0
"""The same model that answers otherwise is told of; noise, load and new settings are not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from agent.core.codec import decode, encode
from agent.core.engine.answers import Completion, Done
from agent.core.engine.metrics import Counters
from agent.core.judges.alive.golden import AGAIN_SECONDS, DAY_SECONDS, MOST_NOISE, NOISE
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.actions import Action, Verify
from agent.core.state.golden import LONGEST_TEXT, Answer, Golden, answer_of, both_shown, same
from agent.core.state.observations import Verified
from agent.core.state.phases import Phase
from agent.core.verify.check import Verdict
from tests.given.simulated_host import SimulatedHost


def scores(*values: float, logits: tuple[float, ...] = ()) -> Answer:
    """Returns what is kept of numbers that a model gave."""
    return answer_of(Done("score", "/score", "a score", values, 0.1, logits))


PARIS, ROME = Answer(" Paris"), Answer(" Rome, Rome, Rome")
HOUR = 3600.0


def serving_host(
    answer: Callable[[float], Answer | None],
    dtype: str | None = None,
    adapters: Callable[[float], Mapping[str, Answer]] = lambda _t: {},
) -> SimulatedHost:
    """Returns a host whose idle engine gives this answer, by the seconds since the beginning."""
    settings = Settings("vllm", "/srv/m", max_model_len=8192, dtype=dtype)
    host = SimulatedHost({"vllm": ServicePolicy(settings)})
    began = host.now

    def verify(action: Action) -> bool:
        if not isinstance(action, Verify):
            return False
        t = host.now - began
        done = Verified(
            host.now,
            "vllm",
            action.invocation_id,
            (),
            True,
            answer=answer(t),
            adapters=adapters(t),
        )
        host.observe(done)
        return True

    host.lose_actions = verify
    host.load = lambda _work: Counters()
    host.agent_starts()
    host.carry_out()
    assert host.serving_within(120)
    return host


def told(host: SimulatedHost) -> list[str]:
    return [line.message for line in host.history if line.kind == "answer-changed"]


def verdict(host: SimulatedHost, item: str = "answer") -> Verdict:
    (check,) = [check for check in host.service().checks if check.item == item]
    return check.verdict


def test_a_model_that_answers_as_before_is_asked_once_a_day_and_nothing_is_told() -> None:
    host = serving_host(lambda _t: PARIS)
    asked: list[float] = []
    host.on_action = lambda action: asked.append(host.now) if isinstance(action, Verify) else None
    host.pass_time(3.5 * DAY_SECONDS, step=60)
    assert len(asked) == 3
    assert told(host) == []
    assert verdict(host) is Verdict.PROVEN


def test_a_changed_answer_is_asked_for_twice_and_told_once_with_both() -> None:
    host = serving_host(lambda t: PARIS if t < HOUR else ROME)
    host.pass_time(DAY_SECONDS + 120, step=10)
    assert verdict(host) is Verdict.CONTRADICTED
    host.pass_time(3 * DAY_SECONDS, step=60)
    (message,) = told(host)
    assert "' Paris', now ' Rome, Rome, Rome'" in message
    assert host.service().phase is Phase.SERVING


def test_one_odd_answer_between_two_of_the_usual_kind_is_no_change() -> None:
    odd = DAY_SECONDS + 60
    host = serving_host(lambda t: ROME if DAY_SECONDS - 60 < t < odd else PARIS)
    host.pass_time(DAY_SECONDS + 30, step=10)
    assert verdict(host) is Verdict.UNKNOWN
    host.pass_time(2 * AGAIN_SECONDS, step=10)
    assert verdict(host) is Verdict.PROVEN
    assert told(host) == []
    asked: list[float] = []
    host.on_action = lambda action: asked.append(host.now) if isinstance(action, Verify) else None
    host.pass_time(DAY_SECONDS / 2, step=60)
    assert asked == []


def test_a_start_with_another_answer_is_told_as_well() -> None:
    host = serving_host(lambda t: PARIS if t < HOUR else ROME)
    host.pass_time(HOUR, step=60)
    host.dies(None)
    host.carry_out()
    host.pass_time(600, step=5)
    assert len(told(host)) == 1


def test_other_settings_may_answer_otherwise() -> None:
    host = serving_host(lambda t: PARIS if t < HOUR else ROME)
    host.pass_time(HOUR, step=60)
    host.policies["vllm"] = ServicePolicy(
        Settings("vllm", "/srv/m", max_model_len=8192, quantization="fp8")
    )
    host.reload()
    host.carry_out()
    host.pass_time(600, step=5)
    assert told(host) == []
    assert verdict(host) is Verdict.PROVEN


def test_who_goes_back_to_earlier_settings_is_told_when_these_answer_otherwise_now() -> None:
    host = serving_host(lambda t: PARIS if t < HOUR else ROME)
    host.pass_time(HOUR, step=60)
    plain = host.policies["vllm"]
    for policy, changes in ((replace(plain.settings, quantization="fp8"), 0), (plain.settings, 1)):
        host.policies["vllm"] = replace(plain, settings=policy)
        host.reload()
        host.carry_out()
        host.pass_time(600, step=5)
        host.agent_starts()
        assert len(told(host)) == changes
    assert verdict(host) is Verdict.CONTRADICTED


def test_answers_given_amid_other_work_do_not_count() -> None:
    host = serving_host(lambda t: PARIS if t < HOUR else None)
    host.pass_time(3 * DAY_SECONDS, step=60)
    assert told(host) == []


numbers = st.floats(-1, 1, allow_nan=False)


@given(st.lists(numbers, min_size=8, max_size=200).filter(lambda v: max(map(abs, v[:128])) > 0.1))
def test_rounding_changes_no_embedding_and_another_sign_does(values: list[float]) -> None:
    known = scores(*values)
    assert same(known, scores(*(value * (1 + 2**-8) for value in values)), MOST_NOISE)
    assert not same(known, scores(*(-value for value in values)), MOST_NOISE)


CITY = Completion(" Paris", 6, 2, "length", 0.1, token_ids=(12, 99))


def test_other_tokens_that_spell_the_same_text_are_a_change_and_shown_as_such() -> None:
    spelled = replace(CITY, token_ids=(12, 4, 5))
    host = serving_host(lambda t: answer_of(CITY if t < HOUR else spelled))
    host.pass_time(DAY_SECONDS + 240, step=30)
    (message,) = told(host)
    assert "token 2 of ' Paris' being 99, now with token 2 of ' Paris' being 4" in message


def test_a_text_kept_without_token_ids_is_compared_as_text_and_gains_them() -> None:
    host = serving_host(lambda t: PARIS if t < HOUR else answer_of(CITY))
    before = host.service().golden
    assert before is not None
    host.pass_time(DAY_SECONDS + 240, step=30)
    assert told(host) == []
    assert host.service().golden == replace(before, answer=answer_of(CITY))


def test_an_answer_as_it_was_kept_before_token_ids_is_read() -> None:
    kept = {"at": 5.0, "given_by": "m", "answer": {"text": " Paris", "numbers": []}}
    assert decode(Golden, kept) == Golden(5.0, "m", PARIS)


def test_a_score_that_halves_is_a_change_although_one_number_has_no_direction() -> None:
    host = serving_host(lambda t: scores(0.92 if t < HOUR else 0.46))
    host.pass_time(DAY_SECONDS + 240, step=30)
    (message,) = told(host)
    assert "[0.92], now [0.46]" in message


def test_the_models_dtype_says_what_is_noise() -> None:
    for dtype, changes in (("float32", 1), ("float16", 0), (None, 0)):
        host = serving_host(lambda t: scores(0.92 if t < HOUR else 0.925), dtype)
        host.pass_time(DAY_SECONDS + 240, step=30)
        assert len(told(host)) == changes


def test_answers_of_another_kind_or_length_are_never_the_same_and_no_numbers_are() -> None:
    nothing = scores(0.0, 0.0)
    assert same(nothing, nothing, 0.0)
    assert not same(nothing, scores(0.0), MOST_NOISE)
    assert not same(nothing, PARIS, MOST_NOISE)


texts = st.text(max_size=300)


@given(texts, texts, st.lists(st.integers(0, 9), max_size=80), st.lists(numbers, max_size=200))
def test_answers_that_differ_never_look_alike(
    one: str, other: str, ids: list[int], values: list[float]
) -> None:
    made = [
        answer_of(replace(CITY, text=one, token_ids=tuple(ids))),
        answer_of(replace(CITY, text=other, token_ids=(3, *ids))),
        Answer(other[:LONGEST_TEXT]),
        scores(*values),
        scores(*values[:-1], 0.7),
        scores(*values[:-1], 0.7, logits=tuple(values)),
        scores(*values[:-1], 0.7, logits=(*values[:-1], 2.0)),
    ]
    for first in made:
        for second in made:
            if not same(first, second, min(NOISE.values())):
                was, now = both_shown(first, second)
                assert was != now


SURE, LESS_SURE = scores(0.9997, logits=(8.1,)), scores(0.9933, logits=(5.0,))


def test_of_scores_near_1_the_logits_tell_a_change_that_the_scores_hide() -> None:
    host = serving_host(lambda t: SURE if t < HOUR else LESS_SURE)
    host.pass_time(DAY_SECONDS + 240, step=30)
    (message,) = told(host)
    assert "[0.9997], before the activation [8.1], now [0.9933]" in message
    assert same(replace(SURE, logits=()), replace(LESS_SURE, logits=()), MOST_NOISE)


@given(st.floats(-12, 12), st.sampled_from([-1, 1]))
def test_rounding_changes_no_logit_and_halved_odds_are_a_change_wherever_a_score_is_unsure(
    logit: float, sign: int
) -> None:
    known = scores(0.5, logits=(logit,))
    assert same(known, scores(0.5, logits=(logit + sign * max(abs(logit), 3) * 0.05,)), MOST_NOISE)
    halved = scores(0.5, logits=(logit + sign * 0.69,))
    assert not same(known, halved, MOST_NOISE) or abs(logit) > 7


def test_a_score_kept_without_its_logit_is_compared_as_score_and_gains_it() -> None:
    host = serving_host(lambda t: scores(0.9997) if t < HOUR else SURE)
    host.pass_time(DAY_SECONDS + 240, step=30)
    assert told(host) == []
    known = host.service().golden
    assert known is not None
    assert known.answer == SURE


def test_an_adapter_that_answers_otherwise_is_told_by_its_name_while_the_model_is_as_before() -> (
    None
):
    def adapters(t: float) -> Mapping[str, Answer]:
        return {"sql": PARIS if t < HOUR else ROME, "de": PARIS}

    host = serving_host(lambda _t: PARIS, adapters=adapters)
    assert verdict(host, "lora_answers") is Verdict.PROVEN
    host.pass_time(DAY_SECONDS + 30, step=10)
    assert verdict(host, "lora_answers") is Verdict.UNKNOWN
    host.pass_time(120, step=10)
    assert verdict(host, "lora_answers") is Verdict.CONTRADICTED
    (message,) = told(host)
    assert "the LoRA adapter sql on the same model" in message
    assert "' Paris', now ' Rome, Rome, Rome'" in message
    assert verdict(host) is Verdict.PROVEN
    host.pass_time(3 * DAY_SECONDS, step=60)
    assert len(told(host)) == 1
    assert verdict(host, "lora_answers") is Verdict.PROVEN


def test_an_adapter_in_doubt_that_answers_no_more_has_the_list_run_each_minute_no_longer() -> None:
    def adapters(t: float) -> Mapping[str, Answer]:
        return {"sql": PARIS if t < HOUR else ROME} if t < DAY_SECONDS + 60 else {}

    host = serving_host(lambda _t: PARIS, adapters=adapters)
    host.pass_time(DAY_SECONDS + 240, step=10)
    asked: list[float] = []
    host.on_action = lambda action: asked.append(host.now) if isinstance(action, Verify) else None
    host.pass_time(DAY_SECONDS / 2, step=60)
    assert asked == []
    assert told(host) == []


def test_an_adapter_of_which_nothing_was_kept_begins_its_own_history() -> None:
    host = serving_host(
        lambda _t: PARIS, adapters=lambda t: {"sql": PARIS} if t < HOUR else {"de": ROME}
    )
    host.pass_time(2 * DAY_SECONDS, step=60)
    assert told(host) == []
    known = host.service().golden
    assert known is not None
    assert known.adapters == {"sql": PARIS, "de": ROME}
    assert decode(Golden, encode(known)) == known


def test_a_reward_near_0_that_rounding_moves_is_no_change_and_shown_once() -> None:
    """By its share of its own length, 0.02 and 0.03 are a third apart."""
    reward, moved = scores(-0.02, logits=(-0.02,)), scores(0.08, logits=(0.08,))
    assert same(reward, moved, MOST_NOISE)
    assert not same(reward, scores(0.5, logits=(0.5,)), MOST_NOISE)
    assert reward.shown == "[-0.02]"
