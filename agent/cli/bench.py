# SPDX-License-Identifier: Apache-2.0
"""`llmagent bench [SERVICE]`: how fast the live service is, beside what is expected of it.

--format json prints {"service", "vllm_version", "model", "points": [{"load": {"batch",
"input_tokens", "output_tokens", "requests"}, "completed", "failed", "seconds",
"output_tokens_per_second", "ttft_median_seconds", "ttft_p99_seconds", "itl_median_seconds"}],
"comparisons": [{"quantity", "batch", "context_tokens", "value", "low", "high", "against",
"standing": "within" | "better" | "worse"}], "saved": path or null}. Exit status 0, or 1 when a
request failed or a value is worse than expected.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.cli import bench_sweep
from agent.cli.screen.options import add_config, add_format
from agent.config.agent_toml import load
from agent.core.bench.measure import Comparison, Point, Standing, compare
from agent.core.settings.profile import Band
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.unit.environment import environment_of
from agent.errors import UsageError
from agent.host.data import benchmarks as bench_files
from agent.host.data.profiles import read_profiles
from agent.host.store.file import StoreError
from agent.host.store.store import Event, Store
from agent.host.vllm.failure import ApiFailure
from agent.host.vllm.install import install_of
from agent.host.vllm.reach import address_of, client_of
from agent.places import BENCHMARK_DIRECTORY, STORE_FILE
from agent.tasks import bench

if TYPE_CHECKING:
    from argparse import _SubParsersAction

BATCHES = "1,8,16,32,64"
CONTEXTS = "4096,32768"
KEY = (
    *("model", "revision", "quantization", "kv_cache_dtype", "max_model_len", "max_num_seqs"),
    *("max_num_batched_tokens", "tensor_parallel_size", "gpus", "enforce_eager"),
)
"""Settings that decide how fast a service is: results with other ones are not compared."""


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `llmagent`."""
    parser = subparsers.add_parser(
        "bench",
        help="measure the live service and compare",
        epilog="Examples: `llmagent bench vllm`, `llmagent bench --batches 1,8 --contexts 512`.",
    )
    parser.add_argument("service", metavar="SERVICE", nargs="?", help="its name in agent.toml")
    parser.add_argument(
        "--batches",
        metavar="N,N",
        type=_numbers,
        default=_numbers(BATCHES),
        help="requests at a time",
    )
    parser.add_argument(
        "--contexts",
        metavar="N,N",
        type=_numbers,
        default=_numbers(CONTEXTS),
        help="tokens of each prompt",
    )
    parser.add_argument(
        "--output-tokens", metavar="N", type=int, default=128, help="tokens of each answer"
    )
    bench_sweep.add_options(parser)
    add_config(parser)
    add_format(parser)
    parser.set_defaults(run=run)


def _numbers(text: str) -> tuple[int, ...]:
    numbers = tuple(int(part) for part in text.split(",") if part)
    if any(number < 1 for number in numbers):
        raise ValueError(text)
    return numbers


def run(args: argparse.Namespace) -> int:
    """Measure, compare, keep and print; raises UsageError when no service answers."""
    policy = _policy(args)
    settings = policy.settings
    target = _target(settings)
    if args.sweep:
        return bench_sweep.run(args, policy, target)
    asked = list(bench.loads(args.batches, args.contexts, args.output_tokens, target))
    points = bench.run(target, asked, lambda what: print(f"bench: {what}", file=sys.stderr))
    key = _key(settings, target)
    before = bench_files.baseline(BENCHMARK_DIRECTORY, key)
    comparisons = compare(points, _bands(settings), before)
    saved = _keep(settings, key, points)
    shape = {
        "service": settings.name,
        "vllm_version": target.engine.version,
        "model": settings.model,
        "points": [asdict(point) for point in points],
        "comparisons": [asdict(comparison) for comparison in comparisons],
        "saved": None if saved is None else str(saved),
    }
    print(json.dumps(shape, indent=2) if args.format == "json" else human(points, comparisons))
    well = all(point.worked for point in points)
    return 0 if well and not any(c.standing is Standing.WORSE for c in comparisons) else 1


def _policy(args: argparse.Namespace) -> ServicePolicy:
    services = load(args.config).services
    if args.service is None and len(services) == 1:
        return next(iter(services.values()))
    if args.service not in services:
        known = ", ".join(services) or "none"
        raise UsageError(f"name a service of {args.config}; there are: {known}")
    return services[args.service]


def _target(settings: Settings) -> bench.Target:
    if settings.asked_elsewhere:
        raise UsageError(settings.asked_elsewhere)
    models = client_of(settings).models()
    if isinstance(models, ApiFailure) or not models:
        why = str(models) if isinstance(models, ApiFailure) else "it serves no model"
        url = address_of(settings)
        raise UsageError(f"{settings.name} does not answer at {url} ({why}); see llmagent status")
    return bench.Target(
        settings=settings,
        served_name=models[0].id,
        tokenizer=settings.tokenizer or settings.model,
        hf_home=environment_of(settings)["HF_HOME"],
        python=settings.python,
        engine=install_of(settings).engine(None),
        max_model_len=models[0].max_model_len,
    )


def _key(settings: Settings, target: bench.Target) -> Mapping[str, Any]:
    values = {name: getattr(settings, name) for name in KEY}
    values["gpus"] = list(settings.gpus)
    return {"service": settings.name, "vllm_version": target.engine.version, **values}


def _bands(settings: Settings) -> tuple[Band, ...]:
    if settings.profile is None:
        return ()
    profile = read_profiles().get(settings.profile)
    return () if profile is None else profile.bands


def _keep(settings: Settings, key: Mapping[str, Any], points: Sequence[Point]) -> Path | None:
    """Write the result and a line of the history; without the right to, say so and go on."""
    now = time.time()
    name = f"{settings.name}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now))}"
    try:
        file = bench_files.save(BENCHMARK_DIRECTORY, name, key, points)
        with Store.open(STORE_FILE)[0] as store:
            data = {"file": str(file), "points": [asdict(point) for point in points]}
            store.record({}, [Event(now, settings.name, "bench", _sentence(points), data)])
    except (OSError, StoreError) as error:
        print(f"bench: not kept: {error}; run it as root to keep results", file=sys.stderr)
        return None
    return file


def _sentence(points: Sequence[Point]) -> str:
    rates = [
        f"{p.output_tokens_per_second:.0f} tokens/s at batch {p.load.batch}"
        for p in points
        if p.load.output_tokens > 1
    ]
    return "measured: " + (", ".join(rates) or "first tokens only")


def human(points: Sequence[Point], comparisons: Sequence[Comparison]) -> str:
    """Return the same as a table for a person."""
    lines = [f"{'batch':>6}{'in':>8}{'out':>6}{'tokens/s':>11}{'first token':>13}{'next':>9}"]
    for point in points:
        load = point.load
        failed = f"  {point.failed} failed" if point.failed else ""
        rate = f"{point.output_tokens_per_second:.1f}" if load.output_tokens > 1 else "-"
        lines.append(
            f"{load.batch:>6}{load.input_tokens:>8}{load.output_tokens:>6}{rate:>11}"
            f"{_ms(point.ttft_median_seconds):>13}{_ms(point.itl_median_seconds):>9}{failed}"
        )
    for c in comparisons:
        where = (
            f"batch {c.batch}"
            if c.quantity.value.startswith("decode")
            else f"{c.context_tokens} in"
        )
        lines.append(
            f"{c.standing.value:<7} {c.quantity.value} at {where}: {c.value:.4g}, "
            f"{c.low:.4g} to {c.high:.4g} by {c.against}"
        )
    return "\n".join(lines)


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"
