# SPDX-License-Identifier: Apache-2.0
"""A snapshot of a host with one service in good health and one that is held."""

from __future__ import annotations

from agent.core.engine.metrics import Counters
from agent.core.verify.check import Check, Verdict
from agent.core.view.snapshot import (
    FailureView,
    FetchView,
    HeldView,
    OverrideView,
    ProgressView,
    RolledBackView,
    ServiceView,
    Snapshot,
    SourceView,
)
from agent.core.view.starting import AheadView

PHASES = (
    "waiting",
    "starting",
    "verifying",
    "serving",
    "examining",
    "stopping",
    "stopped",
    "held",
)

CHECKS = (
    Check("quantization", "awq", "auto_awq", Verdict.PROVEN, "quantization=auto_awq"),
    Check(
        "linear_kernel",
        "marlin",
        "CPUWNA16LinearKernel",
        Verdict.CONTRADICTED,
        "Using CPUWNA16LinearKernel for AutoAWQMarlinLinearMethod",
        "not proven: kernel is CPUWNA16LinearKernel",
    ),
    Check(
        "kv_bytes_per_token",
        "fp8",
        "not known",
        Verdict.UNKNOWN,
        "",
        "the model's config.json was not read",
    ),
)

SERVING = ServiceView(
    name="vllm",
    unit="vllm.service",
    phase="serving",
    since_seconds=1000.0,
    reason="ready and verified",
    url="http://127.0.0.1:8000",
    main_pid=4711,
    invocation_id="5a" * 16,
    restarts={"oom-free-mem-startup": 1, "engine-dead": 2},
    asked={"gpu_memory_utilization": 0.95, "max_model_len": 1024, "quantization": "awq"},
    running={
        "gpu_memory_utilization": 0.86,
        "max_model_len": 1024,
        "quantization": "awq",
        "enforce_eager": True,
        "max_num_batched_tokens": None,
    },
    overrides={
        "gpu_memory_utilization": OverrideView(0.95, 0.86, 900.0, "20.7 of 24.0 GiB were free")
    },
    verification=CHECKS,
    start_seconds=42.5,
    start_stage_seconds={"imports": 7.2, "weights": 30.0, "compile": 5.3},
    read_ahead=AheadView(1_785_000_000.0, 10_209, 1_300_000_000, 0.14, 1_100_000_000, ""),
    phase_seconds={"starting": 80.0, "serving": 10.0},
    drop_ins=("/etc/systemd/system/vllm.service.d/override.conf",),
    api=Counters(running=3, waiting=1, prompt_tokens=1e6, generation_tokens=5e5),
)

HELD = ServiceView(
    name="embed",
    unit="embed.service",
    phase="held",
    since_seconds=1010.0,
    reason="gated-repo: needs a person",
    progress=ProgressView("loading weights", 0.5, "2 of 4 shards"),
    fetch=FetchView(1 << 30, 4 << 30, 1e8),
    failure=FailureView("gated-repo", ("401 Client Error",), "ask for access", 1005.0),
    held=HeldView("the repository is gated", "ask for access at its page"),
    rolled_back=RolledBackView(1002.0, "new settings fail for good; changed were model a -> b"),
)

SNAPSHOT = Snapshot(
    at_seconds=1050.0,
    version="0.1.0",
    phases=PHASES,
    services=(SERVING, HELD),
    sources=(SourceView("units", True, 1049.0), SourceView("api:embed", False, 1000.0, "refused")),
    last_decision_seconds=1049.5,
)
