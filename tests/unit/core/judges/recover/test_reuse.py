# SPDX-License-Identifier: Apache-2.0
"""What a good start measured is used at the next one, and dropped at the first want of memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.diagnosis.facts import Facts
from agent.core.diagnosis.reader import LogReader
from agent.core.failures.classes import EnginePhase, FailureClass
from agent.core.gpu.reading import Driver, Gpu, GpuMemory, Gpus
from agent.core.measures import GIB
from agent.core.settings.recovery import Recovery, Window
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.observations import ConfigLoaded, GpusSeen, LogProgress
from agent.host.data.signatures import load_signatures
from tests.given.simulated_engine import Card
from tests.given.simulated_host import Run, SimulatedHost

F = FailureClass
MIB = 1 << 20
CARD = Gpu(0, "GPU-aa", "NVIDIA H200", memory=GpuMemory(141 * GIB, 0, 141 * GIB, 0))


class Measuring(SimulatedHost):
    """Prints what is left for the KV cache, as each worker does, or what was reserved."""

    left = 9.37

    def _see_log(self, service: str, run: Run, phase: EnginePhase) -> None:
        fixed = run.settings.kv_cache_memory_bytes
        kv_gib = self.left if fixed is None else round(fixed / GIB, 2)
        facts = Facts(available_kv_gib=kv_gib + 0.5, least_kv_gib=kv_gib)
        self.observe(
            LogProgress(self.now, service, run.invocation, phase, int(self.now), None, facts)
        )


def host_of(
    *,
    reuse: bool = True,
    gpus: tuple[Gpu, ...] = (CARD,),
    window: Window | None = None,
    **asked: Any,
) -> Measuring:
    recovery = Recovery(reuse_profile=reuse, settle_seconds=60, probe_window=window)
    settings = Settings("vllm", "/srv/m", max_model_len=8192, **asked)
    host = Measuring({"vllm": ServicePolicy(settings, recovery=recovery)}, Card(others=0.2))
    host.agent_starts()
    host.observe(GpusSeen(host.now, Gpus(host.now, gpus, Driver("570.1"))))
    host.carry_out()
    assert host.serving_within(200)
    return host


def started_again(host: Measuring) -> Settings:
    host.pass_time(120)
    host.dies(F.ENGINE_DEAD)
    host.carry_out()
    assert host.serving_within(300)
    return host.starts[-1][2]


def test_the_next_start_of_the_same_need_not_measure_again() -> None:
    host = host_of()
    assert host.starts[0][2].kv_cache_memory_bytes is None
    size = started_again(host).kv_cache_memory_bytes
    assert size == 9536 * MIB  # 9.37 GiB less what two decimals hide, in steps of 64 MiB
    assert "9.31 GiB of the memory" in host.service().learned.overrides["kv_cache_memory_bytes"].why
    assert started_again(host).kv_cache_memory_bytes == size


def test_without_the_key_every_start_measures() -> None:
    assert started_again(host_of(reuse=False)).kv_cache_memory_bytes is None


def test_a_size_that_the_operator_asked_for_stands() -> None:
    asked = 4 * GIB
    assert started_again(host_of(kv_cache_memory_bytes=asked)).kv_cache_memory_bytes == asked


def test_a_run_that_never_settled_measured_nothing_worth_keeping() -> None:
    host = host_of()
    host.dies(F.ENGINE_DEAD)
    host.carry_out()
    assert host.serving_within(300)
    assert host.starts[-1][2].kv_cache_memory_bytes is None


@pytest.mark.parametrize(
    "gpus",
    [
        (),
        (replace(CARD, memory_unified=True),),
        (replace(CARD, memory=None),),
    ],
    ids=["no look at them", "unified memory", "size not told"],
)
def test_where_the_memory_is_not_the_cards_own_every_start_measures(gpus: tuple[Gpu, ...]) -> None:
    assert started_again(host_of(gpus=gpus)).kv_cache_memory_bytes is None


@pytest.mark.parametrize(
    "failure", [F.OOM_RUNTIME, F.OOM_GRAPH_CAPTURE, F.OOM_KV_NONE, F.OOM_FREE_MEM_STARTUP]
)
def test_at_the_first_want_of_memory_it_is_dropped_for_good(failure: FailureClass) -> None:
    host = host_of()
    assert started_again(host).kv_cache_memory_bytes is not None
    host.pass_time(120)
    host.dies(failure)
    host.carry_out()
    assert host.serving_within(300)
    assert host.starts[-1][2].kv_cache_memory_bytes is None
    assert host.starts[-1][2].gpu_memory_utilization is None  # no other remedy was spent on it
    assert any(
        line.kind == "forgotten" and "measure again" in line.message for line in host.history
    )
    assert started_again(host).kv_cache_memory_bytes is None


def test_other_settings_are_measured_anew() -> None:
    host = host_of()
    assert started_again(host).kv_cache_memory_bytes is not None
    policy = host.policies["vllm"]
    host.policies["vllm"] = replace(policy, settings=replace(policy.settings, max_num_seqs=16))
    host.observe(ConfigLoaded(host.now, reload=True))
    host.carry_out()
    assert host.serving_within(300)
    assert host.starts[-1][2].kv_cache_memory_bytes is None


def test_no_night_trial_takes_it_back() -> None:
    host = host_of(window=Window(0, 86399))
    started_again(host)
    starts = len(host.starts)
    host.pass_time(3 * 86400, step=60)
    assert len(host.starts) == starts


def test_a_key_that_is_taken_away_ends_it_at_the_next_start() -> None:
    host = host_of()
    started_again(host)
    policy = host.policies["vllm"]
    host.policies["vllm"] = replace(policy, recovery=Recovery(settle_seconds=60))
    host.observe(ConfigLoaded(host.now, reload=True))
    host.carry_out()
    assert started_again(host).kv_cache_memory_bytes is None


def test_the_size_is_that_of_the_gpu_that_had_least() -> None:
    reader = LogReader(load_signatures())
    for rank, gib in enumerate(("20.16", "18.02", "19.5")):
        reader.feed(
            f"(Worker_TP{rank} pid={rank + 7}) INFO 11-21 03:05:45 [gpu_worker.py:450] "
            f"Available KV cache memory: {gib} GiB"
        )
    assert reader.facts.least_kv_gib == 18.02
    assert reader.facts.available_kv_gib == 19.5


@given(st.floats(0.3, 130.0))
def test_a_start_never_gets_more_than_was_measured(gib: float) -> None:
    host = host_of()
    host.left = round(gib, 2)
    host.state = replace(host.state, services={})
    host.agent_starts()
    host.carry_out()
    assert host.serving_within(300)
    size = started_again(host).kv_cache_memory_bytes
    assert size is None or size <= gib * GIB
