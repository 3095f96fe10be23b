# SPDX-License-Identifier: Apache-2.0
"""Hosts as the page shows them: made from the agent's own types, with hours of past and history."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from agent.core.engine.metrics import Counters
from agent.core.gpu.reading import ClockEvents, Gpu, GpuMemory, Gpus, PowerLimits
from agent.core.past.past import Past
from agent.core.settings.hosts import host_of
from agent.core.state.card import Card
from agent.core.state.host import HostState
from agent.core.state.phases import Phase
from agent.core.state.service import Live, ServiceState
from agent.core.verify.check import Check, Verdict
from agent.core.view.gpus import view_of_gpus
from agent.core.view.snapshot import (
    FailureView,
    HeldView,
    OverrideView,
    ProgressView,
    ServiceView,
    Snapshot,
    to_json,
)
from agent.core.view.wishes import PauseView
from agent.tasks.fleet.ask_hosts import Told
from tests.given.some_gpus import DRIVER, GIB, H200, RTX4090
from tests.given.some_snapshot import PHASES

NOW = 1_795_824_000.0
"""When every scene plays: a Saturday in November 2026, at night."""
MINUTES = 720

CHECKS = (
    Check("quantization", "fp8", "fp8", Verdict.PROVEN, "quantization=fp8"),
    Check("kv_cache_dtype", "fp8", "fp8_e4m3", Verdict.PROVEN, "kv_cache_dtype=fp8"),
    Check("max_model_len", "65536", "65536", Verdict.PROVEN, "max_seq_len=65536"),
    Check("linear_kernel", "cutlass", "CutlassFP8ScaledMMLinearKernel", Verdict.PROVEN, ""),
    Check("completion", "a token", "Paris", Verdict.PROVEN, ""),
    Check(
        "kv_bytes_per_token", "fp8", "not known", Verdict.UNKNOWN, "", "config.json was not read"
    ),
)
CHAT = ServiceView(
    name="vllm",
    unit="vllm.service",
    phase="serving",
    since_seconds=NOW - 9000,
    reason="ready and verified",
    url="http://127.0.0.1:8000",
    main_pid=4711,
    invocation_id="5a" * 16,
    asked={"model": "meta-llama/Llama-3.1-70B-Instruct", "gpu_memory_utilization": 0.92},
    running={"model": "meta-llama/Llama-3.1-70B-Instruct", "gpu_memory_utilization": 0.9},
    overrides={
        "gpu_memory_utilization": OverrideView(
            0.92, 0.9, NOW - 40000, "it ran out of GPU memory while it served, with 0.92"
        )
    },
    verification=CHECKS,
    start_seconds=142.5,
    failure=FailureView(
        "engine-dead",
        (
            "ERROR 11-28 21:29:48 EngineCore encountered a fatal error.",
            "RuntimeError: worker 0 died",
        ),
        "restarted after 5 s",
        NOW - 9200,
    ),
    api=Counters(running=23, waiting=2, kv_cache_usage=0.61),
)
EMBED = replace(
    CHAT,
    name="embed",
    unit="embed.service",
    url="http://127.0.0.1:8001",
    asked={"model": "BAAI/bge-m3"},
    running={"model": "BAAI/bge-m3"},
    overrides={},
    failure=None,
    since_seconds=NOW - 86400 * 9,
    api=Counters(running=1, waiting=0, kv_cache_usage=0.02),
)
RERANK = replace(
    EMBED,
    name="rerank",
    unit="rerank.service",
    url="http://127.0.0.1:8002",
    asked={"model": "Qwen/Qwen3-Reranker-4B"},
    running={"model": "Qwen/Qwen3-Reranker-4B"},
    verification=CHECKS[:4],
)
HELD = replace(
    CHAT,
    phase="held",
    since_seconds=NOW - 5400,
    reason="gated-repo: the repository is gated and the token has no access to it",
    overrides={},
    verification=(),
    api=None,
    failure=FailureView(
        "gated-repo",
        ("OSError: You are trying to access a gated repo.", "403 Client Error: Forbidden"),
        "held: nothing but a person can help",
        NOW - 5400,
    ),
    held=HeldView(
        "the repository is gated",
        "ask for access at https://huggingface.co/meta-llama/Llama-3.1-70B-Instruct, then run"
        " `systemctl start vllm`",
    ),
)
FAILING = replace(
    CHAT,
    phase="waiting",
    since_seconds=NOW - 240,
    reason="tried again in 6 min: the hub does not answer, and the model's files are not complete",
    verification=(),
    api=None,
    failure=FailureView(
        "hub-unreachable",
        ("ConnectionError: cannot reach huggingface.co",),
        "tried again with growing pauses, without a limit",
        NOW - 240,
    ),
)
PAUSED = PauseView(NOW - 1200, NOW + 6000, "root")
STARTING = replace(
    CHAT,
    phase="starting",
    since_seconds=NOW - 95,
    reason="started again after engine-dead",
    engine_phase="loading",
    progress=ProgressView("loading weights", 0.62, "19 of 30 shards"),
    verification=(),
    api=None,
)
HISTORY = (
    (-43000, "", "agent", "llmagent 0.1.0 started"),
    (-42990, "vllm", "serving", "serving: ready after 142 s and verified"),
    (-40100, "vllm", "died", "ended by itself: exit code 0 while it was serving"),
    (-40098, "vllm", "failure", "oom-runtime: it ran out of GPU memory while it served"),
    (-40096, "vllm", "learned", "gpu_memory_utilization 0.92 -> 0.90, a step down"),
    (-40095, "vllm", "start", "started with gpu_memory_utilization 0.90"),
    (-39950, "vllm", "serving", "serving: ready after 139 s and verified"),
    (-21000, "", "throttled", "GPU 0 is slowed by heat: 89 C, 31 % of the last minute"),
    (-19200, "", "throttle-over", "GPU 0 is no longer slowed by heat"),
    (-9200, "vllm", "died", "ended by itself: exit code 1 while it was serving"),
    (-9198, "vllm", "failure", "engine-dead: the engine's process is gone, cause unknown"),
    (-9193, "vllm", "start", "started again after 5 s"),
    (-9000, "vllm", "serving", "serving: ready after 141 s and verified"),
)


@dataclass(frozen=True)
class Scene:
    """What a host is at NOW; `past` gives a minute's state."""

    snapshot: Snapshot
    history: Sequence[tuple[float, str, str, str]] = HISTORY
    cards: int = 1
    services: tuple[str, ...] = ("vllm",)
    away: tuple[tuple[float, float], ...] = ((-40100, -39950), (-9200, -9000))
    model: Gpu = field(default_factory=lambda: replace(RTX4090, index=0))
    fleet: tuple[Told, ...] = ()


def card(number: int, minute: float, model: Gpu) -> Gpu:
    """Returns a card under a day's load, each a little different."""
    load = 0.55 + 0.4 * math.sin(minute / 95 + 0.15 * number) * math.sin(minute / 23)
    hot = 64 + 22 * load + 2.5 * number % 7
    watts = (model.power_limits.enforced_watts or 450) * (0.35 + 0.6 * load)
    throttled = 370 < minute < 400 and number == 0
    return replace(
        model,
        index=number,
        uuid=f"GPU-{number}",
        temperature_celsius=round(hot + (9 if throttled else 0), 0),
        memory_temperature_celsius=round(hot + 8, 0) if model.memory_temperature_celsius else None,
        power_watts=watts,
        power_limits=PowerLimits(watts, model.power_limits.enforced_watts, 700.0, 200.0, 700.0),
        energy_joules=None,
        utilization_ratio=min(1.0, 0.4 + load / 2),
        clocks_hertz={"sm": 1.95e9 - 2.2e8 * load - (5e8 if throttled else 0), "memory": 3.2e9},
        clock_events=ClockEvents.SW_THERMAL_SLOWDOWN if throttled else ClockEvents(0),
        clock_event_seconds={},
        memory=GpuMemory(141 * GIB, int((118 + load) * GIB), 20 * GIB, GIB)
        if model is H200
        else GpuMemory(24 * GIB, int((20.5 + load) * GIB), 3 * GIB, GIB),
    )


def past_of(scene: Scene) -> Past:
    """Returns what the agent would remember of the scene's last hours."""
    past = Past()
    totals = dict.fromkeys(scene.services, 0.0)
    firsts = dict.fromkeys(scene.services, (0.0, 0.0))
    for minute in range(MINUTES):
        at = NOW - (MINUTES - 1 - minute) * 60
        services = {}
        for number, name in enumerate(scene.services):
            wave = max(0.0, 0.55 + 0.45 * math.sin(minute / 71 + number) * math.cos(minute / 13))
            away = number == 0 and any(a <= at - NOW < b for a, b in scene.away)
            if not away:
                totals[name] += 60 * 1900 * wave / (1 + 3 * number)
                count, waited = firsts[name]
                firsts[name] = (count + 40, waited + 40 * (0.12 + 0.5 * wave**3))
            busy = Counters(
                running=int(30 * wave),
                waiting=int(max(0.0, 40 * (wave - 0.8))),
                generation_tokens=totals[name],
                first_tokens=firsts[name][0],
                first_token_seconds=firsts[name][1],
                kv_cache_usage=0.08 + 0.8 * wave / (1 + number),
            )
            phase = Phase.STARTING if away else Phase.SERVING
            live = Live(counters=busy, counters_at=at)
            services[name] = ServiceState(name, phase, at, "", live=live)
        gpus = tuple(card(number, minute, scene.model) for number in range(scene.cards))
        past.take(HostState(services=services, gpus=Gpus(at, gpus, DRIVER)), at)
    return past


def snapshot(
    *services: ServiceView, cards: int = 1, model: Gpu | None = None, ill: int | None = None
) -> Snapshot:
    """Returns what is at NOW."""
    kind = model or replace(RTX4090, index=0)
    gpus = [card(number, MINUTES - 1, kind) for number in range(cards)]
    if ill is not None:
        gpus[ill] = replace(gpus[ill], lost=True)
    known = {gpu.uuid: Card(gpu.uuid, gpu.index, gpu.name) for gpu in gpus}
    given = {service.name: ("all",) for service in services}
    return Snapshot(
        at_seconds=NOW,
        version="0.1.0",
        phases=PHASES,
        services=services,
        last_decision_seconds=NOW - 0.5,
        gpus=view_of_gpus(
            Gpus(NOW, tuple(gpus), DRIVER), known, given, stale=False, ahead_seconds=0.0
        ),
    )


def told_by(name: str, *services: ServiceView, error: str = "") -> Told:
    """Returns what another host's agent says, or why it does not."""
    said = json.loads(json.dumps(to_json(snapshot(*services)))) if services else None
    return Told(host_of(name), said, error)


SCENES: dict[str, Callable[[], Scene]] = {
    "serving": lambda: Scene(snapshot(CHAT)),
    "starting": lambda: Scene(snapshot(STARTING), away=((-40100, -39950), (-200, 1))),
    "failing": lambda: Scene(snapshot(FAILING), away=((-40100, -39950), (-9200, 1))),
    "paused": lambda: Scene(
        replace(snapshot(replace(CHAT, paused=PAUSED)), paused=PAUSED),
    ),
    "held": lambda: Scene(
        snapshot(HELD),
        history=(
            *HISTORY[:-1],
            (-5400, "vllm", "held", "gated-repo: held, nothing but a person can help"),
        ),
        away=((-40100, -39950), (-9200, 1)),
    ),
    "eight-gpus": lambda: Scene(snapshot(CHAT, cards=8, model=H200, ill=5), cards=8, model=H200),
    "three-services": lambda: Scene(
        snapshot(CHAT, EMBED, RERANK, cards=2, model=H200),
        cards=2,
        model=H200,
        services=("vllm", "embed", "rerank"),
    ),
    "fleet": lambda: Scene(
        snapshot(CHAT),
        fleet=(
            told_by("gpu-02.rack-7.example.org", CHAT),
            told_by("https://gpu-03.rack-7.example.org:9836", STARTING),
            told_by("gpu-04", error="Connection refused"),
            told_by("gpu-05", HELD, EMBED),
        ),
    ),
}
