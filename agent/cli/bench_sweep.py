# SPDX-License-Identifier: Apache-2.0
"""`llmagent bench --sweep`: which max_num_seqs and utilization serve best, tried one by one.

--format json prints {"service", "outcomes": [{"setting", "value", "output_tokens_per_second" or
null, "why"}], "would_set": {setting: value}, "applied": path or null}. Exit status 0, or 1 when no
trial could be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.core.bench.measure import NOISE
from agent.core.bench.sweep import SEQS, UTILIZATIONS, TrialOutcome, found, trials
from agent.core.measures import HOUR_SECONDS
from agent.core.settings.profile import Origin, Quantity
from agent.core.settings.service import ServicePolicy, Settings
from agent.errors import HostLacksError
from agent.host.data.profiles import write_profile
from agent.places import OWN_PROFILES
from agent.tasks import sweep
from agent.tasks.bench import Target

START_SECONDS = HOUR_SECONDS


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the sweep's options to `llmagent bench`."""
    parser.add_argument("--sweep", action="store_true", help="restart with other settings")
    parser.add_argument(
        "--seqs", metavar="N,N", type=_list_of(int), default=SEQS, help="max_num_seqs to try"
    )
    parser.add_argument(
        "--shares",
        metavar="X,X",
        type=_list_of(float),
        default=UTILIZATIONS,
        help="gpu_memory_utilization to try",
    )
    parser.add_argument("--apply", action="store_true", help="write what was found as a profile")


def _list_of(kind: type[int] | type[float]) -> Any:
    def numbers(text: str) -> tuple[int | float, ...]:
        return tuple(kind(part) for part in text.split(",") if part)

    return numbers


def run(args: argparse.Namespace, policy: ServicePolicy, target: Target) -> int:
    """Sweep and print; raises HostLacksError without root."""
    if os.geteuid() != 0:
        raise HostLacksError("a sweep restarts the service: run it as root")
    settings = policy.settings
    asked = sweep.Sweep(settings, target, args.output_tokens, START_SECONDS)
    todo = trials(settings, args.seqs, args.shares)
    outcomes = sweep.run(asked, todo, lambda what: print(f"sweep: {what}", file=sys.stderr))
    best = found(outcomes)
    applied = _apply(settings, best, outcomes) if args.apply and best else None
    shape = {
        "service": settings.name,
        "outcomes": [_row(outcome) for outcome in outcomes],
        "would_set": best,
        "applied": None if applied is None else str(applied),
    }
    print(json.dumps(shape, indent=2) if args.format == "json" else _human(shape))
    return 0 if best else 1


def _row(outcome: TrialOutcome) -> dict[str, object]:
    return {
        "setting": outcome.trial.setting,
        "value": outcome.trial.value,
        "output_tokens_per_second": outcome.rate or None,
        "why": outcome.why,
    }


def _apply(
    settings: Settings, best: Mapping[str, int | float], outcomes: Sequence[TrialOutcome]
) -> Path:
    measured = [
        {
            "quantity": Quantity.DECODE.value,
            "low": round(o.rate * (1 - NOISE), 1),
            "high": round(o.rate * (1 + NOISE), 1),
            "batch": o.trial.batch,
            "origin": Origin.MEASURED.value,
        }
        for o in outcomes
        if o.rate and best.get(o.trial.setting) == o.trial.value
    ]
    table = {
        "description": f"{settings.model} as a sweep on this host found it best",
        "card": {"names": ["*"], "memory_gib": 0.0, "memory_bandwidth_bytes_per_second": 0.0},
        "settings": {"model": settings.model, **best},
        "band": measured,
    }
    return write_profile(OWN_PROFILES, f"{settings.name.lower()}-tuned", table)


def _human(shape: Mapping[str, Any]) -> str:
    lines = []
    for row in shape["outcomes"]:
        rate = row["output_tokens_per_second"]
        result = f"{rate:.1f} tokens/s" if rate else row["why"]
        lines.append(f"{row['setting']:<24}{row['value']:>8}  {result}")
    best = ", ".join(f"{name} = {value}" for name, value in shape["would_set"].items())
    lines.append(f"would set: {best or 'nothing, no trial could be measured'}")
    if shape["applied"]:
        name = Path(shape["applied"]).stem
        lines.append(
            f'written to {shape["applied"]}: set profile = "{name}" in '
            f"[service.{shape['service']}] and take these keys out of it"
        )
    return "\n".join(lines)
