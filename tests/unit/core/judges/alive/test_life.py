# SPDX-License-Identifier: Apache-2.0
"""Busy or hung: told from what vLLM's counters and a one-token request show over time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from agent.core.diagnosis.facts import Facts
from agent.core.engine.metrics import Counters, scan
from agent.core.failures.classes import EnginePhase, FailureClass
from agent.core.gpu.reading import Driver, Gpus
from agent.core.judges.alive.proof import STEP_PATIENCE
from agent.core.judges.alive.start_progress import BUSY_PATIENCE, limit
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.actions import Action, Canary
from agent.core.state.observations import CanaryDone, GpusSeen, LogProgress
from agent.core.state.phases import Phase
from tests.given.simulated_host import SimulatedHost

F = FailureClass
R = Recovery()
HOUR = 3600


@dataclass
class Ward:
    """A serving engine whose counters and one-token requests behave as a test says."""

    counters: Callable[[float], Counters]
    canary_takes: float = 1.0
    """Seconds; a request that takes longer than its deadline fails at the deadline."""
    cores: float | None = None
    """How much its processes compute, on a host without a GPU; None: nobody can tell."""
    host: SimulatedHost = field(init=False)
    asked: list[tuple[float, Canary]] = field(default_factory=list)
    _due: list[tuple[float, CanaryDone]] = field(default_factory=list)

    def __post_init__(self) -> None:
        policy = ServicePolicy(Settings("vllm", "/srv/m", max_model_len=8192))
        self.host = host = SimulatedHost({"vllm": policy})
        host.agent_starts()
        host.carry_out()
        assert host.serving_within(120)
        began = host.now
        host.load = lambda _work: self.counters(host.now - began)
        host.cores = self.cores
        if self.cores is not None:
            without = Driver(problem="libnvidia-ml.so.1 is not installed")
            host.observe(GpusSeen(host.now, Gpus(host.now, (), without)))
        host.lose_actions = self._take_canary

    def _take_canary(self, action: Action) -> bool:
        if not isinstance(action, Canary):
            return False
        now = self.host.now
        self.asked.append((now, action))
        answered = self.canary_takes <= action.deadline_seconds
        at = now + min(self.canary_takes, action.deadline_seconds)
        done = CanaryDone(at, "vllm", action.invocation_id, answered, at - now, "timed out")
        self._due.append((at, done))
        return True

    def watch(self, seconds: float) -> None:
        end = self.host.now + seconds
        while self.host.now < end and not self.killed:
            self.host.pass_time(5, step=5)
            for at, done in tuple(self._due):
                if at <= self.host.now:
                    self._due.remove((at, done))
                    self.host.observe(replace(done, at=self.host.now))
                    self.host.carry_out()

    @property
    def killed(self) -> bool:
        return any(line.kind == "kill" for line in self.host.history)


BUSY: dict[str, tuple[Callable[[float], Counters], float]] = {
    "many wait and tokens move": (
        lambda t: Counters(running=256, waiting=900, generation_tokens=4000 * t, kv_cache_usage=1),
        1e6,
    ),
    "a reasoning model writes for an hour": (
        lambda t: Counters(running=1, generation_tokens=30 * t, kv_cache_usage=0.4),
        20.0,
    ),
    "the cache thrashes: requests are preempted and computed again": (
        lambda t: Counters(running=90, waiting=400, preemptions=t // 60, kv_cache_usage=1.0),
        1e6,
    ),
    "a long prefill in chunks: steps are counted, tokens are not yet": (
        lambda t: Counters(running=1, iteration_tokens_count=t // 40, kv_cache_usage=0.0),
        1e6,
    ),
    "a long prefill of an engine that counts no steps: its cache fills": (
        lambda t: Counters(running=1, kv_cache_usage=min(1.0, t // 30 / 1000)),
        1e6,
    ),
    "a prefill whose every step takes longer than an engine may be silent": (
        lambda t: Counters(running=1, iteration_tokens_count=t // 170),
        55.0,
    ),
    "prompt tokens move, none are generated": (
        lambda t: Counters(running=8, waiting=3, prompt_tokens=t // 100 * 8192),
        1e6,
    ),
    "the front end drowns: one-token requests are late, but they come": (
        lambda _t: Counters(running=64, waiting=4000),
        59.0,
    ),
    "an operator put it to sleep": (lambda _t: Counters(running=0, asleep=True), 1e6),
}


@pytest.mark.parametrize("story", BUSY)
def test_a_busy_engine_is_never_killed(story: str) -> None:
    counters, canary_takes = BUSY[story]
    ward = Ward(counters, canary_takes)
    ward.watch(2 * HOUR)
    assert ward.host.service().phase is Phase.SERVING
    assert not ward.killed


HUNG: dict[str, Callable[[float], Counters]] = {
    "requests run and nothing moves": lambda _t: Counters(running=3, generation_tokens=7.0),
    "requests only wait": lambda _t: Counters(waiting=12, kv_cache_usage=0.0),
    "the cache is full and nothing moves": lambda _t: Counters(running=9, kv_cache_usage=1.0),
    "the queue grows, as the front end still takes requests": (
        lambda t: Counters(running=3, waiting=int(t), generation_tokens=7.0)
    ),
}


@pytest.mark.parametrize("story", HUNG)
def test_a_hung_engine_with_work_that_computes_nothing_is_killed_after_one_failed_request(
    story: str,
) -> None:
    ward = Ward(HUNG[story], canary_takes=1e6, cores=0.02)
    began = ward.host.now
    ward.watch(HOUR)
    assert ward.killed
    assert len(ward.asked) == 1
    assert ward.host.now - began <= R.hang_seconds + R.canary_seconds + 30


@pytest.mark.parametrize("story", HUNG)
def test_without_a_look_at_its_processors_two_requests_must_fail(story: str) -> None:
    ward = Ward(HUNG[story], canary_takes=1e6)
    began = ward.host.now
    ward.watch(HOUR)
    assert ward.killed
    assert len(ward.asked) == 2
    assert ward.host.now - began <= 2 * R.hang_seconds + R.canary_seconds + 30


def test_an_engine_that_spins_with_work_is_killed_after_ten_minutes() -> None:
    """A deadlock of NCCL holds a core and a GPU at work for ever."""
    ward = Ward(HUNG["requests run and nothing moves"], canary_takes=1e6, cores=1.0)
    began = ward.host.now
    ward.watch(HOUR)
    assert ward.killed
    longest = STEP_PATIENCE * R.hang_seconds
    assert longest <= ward.host.now - began <= longest + R.hang_seconds + R.canary_seconds + 30


def test_one_step_of_nine_minutes_that_computes_is_no_hang() -> None:
    def steps(t: float) -> Counters:
        return Counters(running=1, iteration_tokens_count=t // 540)

    ward = Ward(steps, canary_takes=1e6, cores=3.0)
    ward.watch(3 * HOUR)
    assert not ward.killed
    assert ward.host.service().phase is Phase.SERVING


def test_a_hung_idle_engine_is_killed_after_two_failed_requests() -> None:
    ward = Ward(lambda _t: Counters(generation_tokens=7.0), canary_takes=1e6)
    ward.watch(HOUR)
    assert ward.killed
    assert len(ward.asked) == 2


def test_the_request_itself_is_not_taken_for_work_of_a_hung_engine() -> None:
    """Kernels compile at the first request after long idleness: the request shows as running."""
    ward = Ward(lambda _t: Counters(), canary_takes=90.0)
    ward.counters = lambda _t: Counters(running=len(ward._due))
    while not ward.asked:
        ward.watch(5)
    ward.canary_takes = 1.0
    ward.watch(HOUR)
    assert not ward.killed


def test_an_engine_without_metrics_gets_more_time_with_each_request() -> None:
    """With --disable-log-stats a long queue cannot be seen: only that an answer comes at last."""
    ward = Ward(lambda _t: Counters(), canary_takes=200.0)
    ward.host.metrics_are_silent = True
    ward.watch(2 * HOUR)
    assert not ward.killed
    deadlines = [canary.deadline_seconds for _, canary in ward.asked[:3]]
    assert deadlines == [R.canary_seconds, 2 * R.canary_seconds, 4 * R.canary_seconds]


def test_an_engine_without_metrics_that_never_answers_is_killed() -> None:
    ward = Ward(lambda _t: Counters(), canary_takes=1e6)
    ward.host.metrics_are_silent = True
    ward.watch(2 * HOUR)
    assert ward.killed


def test_sleep_and_v0s_swapped_requests_are_read_from_the_metrics() -> None:
    running = b"vllm:num_requests_running 0.0\n"
    asleep = b'vllm:engine_sleep_state{engine="0",sleep_state="awake"} 0.0\n'
    awake = b'vllm:engine_sleep_state{engine="0",sleep_state="awake"} 1.0\n'
    swapped = b'vllm:num_requests_waiting 1.0\nvllm:num_requests_swapped{model_name="m"} 3.0\n'
    seen = [scan(running + rest) for rest in (asleep, awake, b"")]
    assert [one.asleep for one in seen if one is not None] == [True, False, False]
    v0 = scan(running + swapped)
    assert v0 is not None
    assert v0.waiting == 4


def start_stuck_at(phase: EnginePhase, cpu_per_second: float) -> float:
    """Return after how many silent seconds in `phase` the start is killed."""
    host = SimulatedHost({"vllm": ServicePolicy(Settings("vllm", "/srv/m", max_model_len=8192))})
    host.agent_starts()
    host.carry_out()
    run = host.runs["vllm"]
    run.hung, run.ready_at = True, host.now + 100 * HOUR
    progress = LogProgress(host.now, "vllm", run.invocation, phase, 1, None, Facts())
    host.observe(progress)
    began = host.now
    while host.service().phase is Phase.STARTING and host.now - began < 10 * HOUR:
        used = (host.now - began) * cpu_per_second
        host.units["vllm"] = replace(host.units["vllm"], cpu_seconds=used)
        host.see_units()
        host.pass_time(5, step=5)
        if run is not host.runs.get("vllm"):
            break
    return host.now - began


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        (EnginePhase.STARTING, R.start_stall_seconds),
        (EnginePhase.DOWNLOADING, R.download_stall_seconds),
        (EnginePhase.LOADING, R.load_stall_seconds),
        (EnginePhase.PROFILING, R.compile_stall_seconds),
        (EnginePhase.COMPILING, R.compile_stall_seconds),
        (EnginePhase.WARMING_UP, R.compile_stall_seconds),
        (EnginePhase.CAPTURING, R.capture_stall_seconds),
    ],
)
def test_each_step_of_a_start_has_a_patience_of_its_own(
    phase: EnginePhase, expected: float
) -> None:
    assert limit(R, phase) == expected
    assert expected < start_stuck_at(phase, cpu_per_second=0.02) <= expected + 10


def test_a_compiler_that_computes_in_silence_gets_more_time_but_not_for_ever() -> None:
    took = start_stuck_at(EnginePhase.COMPILING, cpu_per_second=1.8)
    longest = BUSY_PATIENCE * R.compile_stall_seconds
    assert longest < took <= longest + 10


def test_a_spinning_process_gets_no_more_time_to_load_weights() -> None:
    took = start_stuck_at(EnginePhase.LOADING, cpu_per_second=8.0)
    assert took <= R.load_stall_seconds + 10


def verifying_with_half_a_log() -> SimulatedHost:
    """Returns a host whose engine answers /health while its log was not read to the end."""
    host = SimulatedHost({"vllm": ServicePolicy(Settings("vllm", "/srv/m", max_model_len=8192))})
    host.agent_starts()
    host.carry_out()
    run = host.runs["vllm"]
    run.said_ready = True
    while host.service().phase is Phase.STARTING:
        host.pass_time(1, step=1)
    assert host.service().phase is Phase.VERIFYING
    return host


def test_nothing_is_judged_by_half_a_log_and_all_of_it_as_soon_as_the_log_says_ready() -> None:
    host = verifying_with_half_a_log()
    run = host.runs["vllm"]
    tell = LogProgress(host.now, "vllm", run.invocation, EnginePhase.WARMING_UP, 5, None, Facts())
    host.observe(tell)
    host.carry_out()
    assert host.service().phase is Phase.VERIFYING
    host.observe(replace(tell, engine_phase=EnginePhase.SERVING))
    host.carry_out()
    assert host.service().phase is Phase.SERVING


def test_a_log_that_never_says_ready_holds_a_server_back_for_seconds_only() -> None:
    host = verifying_with_half_a_log()
    host.pass_time(15, step=1)
    assert host.service().phase is Phase.SERVING
