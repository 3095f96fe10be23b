# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.core.engine.metrics import Counters
from agent.core.gpu.reading import ClockEvents, Driver, Gpu, Gpus
from agent.core.past.kept import as_bytes, from_bytes
from agent.core.past.past import LOOK_SECONDS, Past
from agent.core.past.track import STEP_SECONDS, STEPS
from agent.core.state.card import Card
from agent.core.state.host import HostState
from agent.core.state.phases import Phase
from agent.core.state.service import Live, ServiceState
from tests.given.some_gpus import GB10, H200

START = 1_000_000 * STEP_SECONDS
EVERY_LOOK = int(STEP_SECONDS / LOOK_SECONDS)


def serving(at: float, counters: Counters, phase: Phase = Phase.SERVING) -> HostState:
    live = Live(counters=counters, counters_at=at)
    return HostState(services={"vllm": ServiceState("vllm", phase, START, "", live=live)})


def with_gpus(at: float, *gpus: Gpu, problem: str = "") -> HostState:
    cards = {"GPU-aa": Card("GPU-aa")}
    return HostState(gpus=Gpus(at, gpus, Driver(problem=problem)), cards=cards)


def of_vllm(past: Past) -> dict[str, Any]:
    found: dict[str, Any] = past.document(0.0, 0.0)["services"]["vllm"]
    return found


def test_tokens_of_a_minute_are_their_growth_over_its_time() -> None:
    past = Past()
    for look in range(3 * EVERY_LOOK + 1):
        at = START + look * LOOK_SECONDS
        counters = Counters(generation_tokens=1000.0 + 50 * (at - START), prompt_tokens=7.0)
        past.take(serving(at, counters), at)
    found = of_vllm(past)
    assert found["generation_tokens_per_second"][:3] == [50.0, 50.0, 50.0]
    assert found["prompt_tokens_per_second"][1] == 0.0


def test_the_time_to_a_first_token_is_that_of_the_requests_of_the_minute() -> None:
    past = Past()
    waits = [(0.0, 0.0), (10.0, 5.0), (10.0, 5.0), (12.0, 9.0)]
    for minute, (count, seconds) in enumerate(waits):
        for look in (0, 50):
            at = START + minute * STEP_SECONDS + look
            now = Counters(first_tokens=count, first_token_seconds=seconds)
            past.take(serving(at, now), at)
    assert of_vllm(past)["first_token_seconds"] == [None, 0.5, None, 2.0]


def test_a_short_queue_within_a_minute_is_seen() -> None:
    past = Past()
    for look, waiting in enumerate((0, 0, 40, 0, 0, 0)):
        at = START + look * LOOK_SECONDS
        past.take(serving(at, Counters(waiting=waiting)), at)
    assert of_vllm(past)["requests_waiting"] == [40.0]


def test_a_new_engine_whose_counters_begin_at_zero_makes_no_negative_rate() -> None:
    past = Past()
    tokens = [5000.0, 6000.0, 10.0, 610.0]
    for minute, counted in enumerate(tokens):
        at = START + minute * STEP_SECONDS
        past.take(serving(at, Counters(generation_tokens=counted)), at)
    found = of_vllm(past)["generation_tokens_per_second"]
    assert found == [None, round(1000 / 60, 3), None, 10.0]


def test_the_numbers_of_a_run_that_is_over_are_not_those_of_now() -> None:
    past = Past()
    past.take(serving(START, Counters(running=3)), START)
    later = START + STEP_SECONDS
    past.take(serving(START, Counters(running=3), Phase.STARTING), later)
    assert of_vllm(past)["requests_running"] == [3.0, None]


def test_power_is_the_energy_of_the_minute_and_what_a_card_has_not_is_left_out() -> None:
    past = Past()
    for minute in range(3):
        at = START + minute * STEP_SECONDS
        card = replace(H200, energy_joules=1e6 + 300.0 * minute * STEP_SECONDS)
        past.take(with_gpus(at, card, GB10), at)
    gpus = past.document(0.0, 0.0)["gpus"]
    assert gpus["GPU-aa"]["power_watts"] == [None, 300.0, 300.0]
    assert gpus["GPU-bb"].keys() == {"index", "temperature_celsius", "throttled_ratio"}


def test_throttling_is_counted_where_the_card_counts_it_and_else_seen() -> None:
    past = Past()
    for minute in range(2):
        at = START + minute * STEP_SECONDS
        counted = replace(H200, clock_event_seconds={"hw_thermal": 15.0 * minute})
        seen = replace(GB10, clock_events=ClockEvents.HW_THERMAL_SLOWDOWN)
        past.take(with_gpus(at, counted, seen), at)
    gpus = past.document(0.0, 0.0)["gpus"]
    assert gpus["GPU-aa"]["throttled_ratio"] == [None, 0.25]
    assert gpus["GPU-bb"]["throttled_ratio"] == [1.0, 1.0]


def test_a_second_reason_that_holds_the_clocks_is_not_hidden_behind_an_older_one() -> None:
    past = Past()
    for minute in range(3):
        at = START + minute * STEP_SECONDS
        seconds = {
            "sw_thermal": 5000.0,
            "hw_thermal": 30.0 * minute,
            "hw_power_brake": 45.0 * minute,
        }
        past.take(with_gpus(at, replace(H200, clock_event_seconds=seconds)), at)
    found = past.document(0.0, 0.0)["gpus"]["GPU-aa"]["throttled_ratio"]
    assert found == [None, 1.0, 1.0]


def test_power_is_by_the_time_of_the_reading_not_by_that_of_the_look() -> None:
    past = Past()
    for minute, late in enumerate((0.0, 9.0, 0.0)):
        read = START + minute * STEP_SECONDS
        card = replace(H200, energy_joules=200.0 * (read - START))
        past.take(with_gpus(read, card), read + late)
    assert past.document(0.0, 0.0)["gpus"]["GPU-aa"]["power_watts"] == [None, 200.0, 200.0]


def test_a_card_that_is_lost_keeps_its_past_and_has_nothing_new() -> None:
    past = Past()
    past.take(with_gpus(START, H200), START)
    for minute, problem in ((1, ""), (2, "NVML hangs")):
        at = START + minute * STEP_SECONDS
        past.take(with_gpus(at, replace(H200, lost=True), problem=problem), at)
    stale = START + 3 * STEP_SECONDS
    past.take(with_gpus(START, H200), stale)
    assert past.document(0.0, 0.0)["gpus"]["GPU-aa"]["temperature_celsius"] == [61.0, *[None] * 3]


def test_a_service_that_is_no_longer_configured_is_forgotten() -> None:
    past = Past()
    past.take(serving(START, Counters(running=1)), START)
    past.take(HostState(), START + STEP_SECONDS)
    assert past.document(0.0, 0.0)["services"] == {}


def test_a_page_that_asks_again_gets_only_what_is_new_by_the_wall_clock() -> None:
    past = Past()
    for minute in range(5):
        at = START + minute * STEP_SECONDS
        past.take(serving(at, Counters(running=minute)), at)
    ahead = 7200.0
    found = past.document(START + 3 * STEP_SECONDS + ahead, ahead)
    assert (found["first_seconds"], found["steps"]) == (START + 3 * STEP_SECONDS + ahead, 2)
    assert found["services"]["vllm"]["requests_running"] == [3.0, 4.0]


@given(
    st.lists(st.floats(0.0, 40 * 3600.0), min_size=1, max_size=12),
    st.floats(-1e12, 1e12),
    st.sampled_from([0.0, math.inf, math.nan, 1e300, -5.0]),
)
def test_whatever_comes_the_past_is_bounded_and_json(
    moves: list[float], since: float, strange: float
) -> None:
    past, at = Past(), float(START)
    for move in moves:
        at += move
        now = Counters(generation_tokens=strange, kv_cache_usage=strange)
        past.take(serving(at, now), at)
    found = past.document(since, 0.0)
    json.dumps(found, allow_nan=False)
    assert 1 <= found["steps"] <= STEPS
    assert all(len(row) == found["steps"] for row in found["services"]["vllm"].values())


def test_eight_gpus_and_three_services_cost_less_than_200_kb() -> None:
    past = Past()
    gpus = tuple(replace(H200, uuid=f"GPU-{index}", index=index) for index in range(8))
    names = ("vllm", "embed", "rerank")
    services = {name: ServiceState(name, Phase.SERVING, START, "") for name in names}
    past.take(HostState(services=services, gpus=Gpus(START, gpus)), START)
    rings = [ring for track in past.services.values() for ring in track._rings]
    rings += [ring for track in past.gpus.values() for ring in track._rings]
    assert len(rings) == 3 * 6 + 8 * 6
    assert sum(map(sys.getsizeof, rings)) < 200_000


def an_hour() -> Past:
    past = Past()
    for minute in range(60):
        at = START + minute * STEP_SECONDS
        live = Live(counters=Counters(running=minute, generation_tokens=60.0 * minute))
        live = replace(live, counters_at=at)
        services = {"vllm": ServiceState("vllm", Phase.SERVING, START, "", live=live)}
        past.take(replace(with_gpus(at, H200, GB10), services=services), at)
    return past


def test_a_new_process_goes_on_where_the_last_one_ended() -> None:
    past = an_hour()
    again = from_bytes(as_bytes(past), START + 3600)
    assert again.document(0.0, 0.0) == past.document(0.0, 0.0)
    later = START + 62 * STEP_SECONDS
    again.take(serving(later, Counters(running=7)), later)
    found = of_vllm(again)["requests_running"]
    assert found[57:] == [57.0, 58.0, 59.0, None, None, 7.0]


def test_what_was_written_under_a_clock_that_was_ahead_does_not_stop_the_plots() -> None:
    kept = as_bytes(an_hour())
    assert from_bytes(kept, START - 86400).services == {}


@given(st.binary(max_size=200), st.integers(0, 60_000), st.sampled_from(["cut", "put", "all"]))
def test_what_is_damaged_or_of_another_release_is_begun_anew(
    content: bytes, place: int, how: str
) -> None:
    kept = as_bytes(an_hour())
    broken = {"cut": kept[:place], "put": kept[:place] + content + kept[place:], "all": content}
    found = from_bytes(broken[how], START + 3600)
    json.dumps(found.document(0.0, 0.0), allow_nan=False)
    assert sum(len(ring) for t in found.gpus.values() for ring in t._rings) < 20_000
    other = kept.replace(b'"power_watts"', b'"power_kw"')
    assert from_bytes(other, START + 3600).services == {}
