# SPDX-License-Identifier: Apache-2.0
"""`llmagent plan`: whether a model fits a GPU with these settings, every GiB named.

--format json prints {"verdict": "fits" | "tight" | "does not fit", "reason", "weights_gib",
"activation_gib", "non_torch_gib", "cuda_graph_gib", "available_kv_gib", "error_gib",
"needed_kv_gib", "kv_bytes_per_token", "kv_tokens", "max_concurrency", "max_model_len",
"largest_max_model_len", "terms": [{"name", "gib", "error_gib", "how"}], "advice": [sentence]};
GiB of one GPU. Exit status 0, or 1 when it does not fit; 2 for inputs that make no plan.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.config.agent_toml import load
from agent.core.planner.advice import advice_for
from agent.core.planner.config_keys import NotAModelError
from agent.core.planner.model import Model, model_of
from agent.core.planner.plan import make_plan, terms
from agent.core.planner.question import Fit, Measured, Plan, PlanRequest
from agent.core.planner.terms.formats import UnknownQuantizationError
from agent.core.planner.versions import version_of
from agent.core.settings.service import Settings
from agent.core.unit.environment import environment_of
from agent.errors import UsageError
from agent.host.models.config import read_model_config
from agent.host.models.files import read_config, weights_gib
from agent.host.models.known import known_config
from agent.host.vllm.install import install_of

if TYPE_CHECKING:
    from argparse import _SubParsersAction

CONFIG_FILE = Path("/etc/llmagent/agent.toml")
STATUS_FILE = Path("/run/llmagent/status.json")
GIB = 1024**3
MOST_GIB = 100_000

OPTIONS = (
    ("--tensor-parallel-size", int),
    ("--pipeline-parallel-size", int),
    ("--dtype", str),
    ("--quantization", str),
    ("--kv-cache-dtype", str),
    ("--max-model-len", int),
    ("--max-num-seqs", int),
    ("--max-num-batched-tokens", int),
    ("--gpu-memory-utilization", float),
    ("--kv-cache-memory-bytes", int),
)
"""vLLM's own options, under vLLM's names."""

ASKED = (*(option.removeprefix("--").replace("-", "_") for option, _ in OPTIONS), "enforce_eager")
ANOTHER_MODEL = (
    *("config_json", "model", "weights_gib", "gpu_memory_gib", "gpu_name", "vllm_version"),
    *("dtype", "quantization", "tensor_parallel_size", "pipeline_parallel_size"),
)
"""Options that make another start of it than the one that this host has seen."""


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `llmagent`."""
    parser = subparsers.add_parser("plan", help="memory arithmetic for a model, GPU and settings")
    parser.add_argument("service", metavar="SERVICE", nargs="?", help="its name in agent.toml")
    parser.add_argument("--config-json", metavar="FILE", type=Path, help="a model's config.json")
    parser.add_argument("--model", metavar="DIR|NAME", help="a model's directory, or a known name")
    parser.add_argument(
        "--gpu-memory-gib",
        metavar="GIB",
        type=float,
        help="of one card; default: the smallest here",
    )
    parser.add_argument("--gpu-name", metavar="NAME", help="of the card, if it is an A100")
    parser.add_argument("--weights-gib", metavar="GIB", type=float, help="on one GPU, when known")
    parser.add_argument("--vllm-version", metavar="VERSION", help="default: the newest known")
    for option, kind in OPTIONS:
        parser.add_argument(option, type=kind, metavar=kind.__name__.upper())
    parser.add_argument("--enforce-eager", action="store_true", default=None)
    parser.add_argument("--config", metavar="FILE", type=Path, default=CONFIG_FILE)
    parser.add_argument("--format", choices=("human", "json"), default="human")
    parser.add_argument("--status", type=Path, default=STATUS_FILE, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Plan and print; raises UsageError when the inputs make no plan."""
    settings = _settings(args)
    config, files_gib = _model(args, settings)
    try:
        model = model_of(config)
        plan = make_plan(model, _request(args, settings, files_gib))
    except (NotAModelError, UnknownQuantizationError) as error:
        raise UsageError(str(error)) from error
    advice = advice_for(model, plan)
    print(json_of(plan, advice) if args.format == "json" else human(model, plan, advice))
    return 1 if plan.verdict is Fit.DOES_NOT_FIT else 0


def _settings(args: argparse.Namespace) -> Settings | None:
    if args.service is None:
        return None
    services = load(args.config).services
    if args.service not in services:
        known = ", ".join(services) or "none"
        raise UsageError(f"{args.config} has no [service.{args.service}]; there are: {known}")
    return services[args.service].settings


def _model(
    args: argparse.Namespace, settings: Settings | None
) -> tuple[Mapping[str, Any], float | None]:
    """Return config.json's numbers and the GiB of the weights' files where they are here."""
    name = args.model or (settings.model if settings is not None else None)
    if args.config_json is not None:
        files_gib = weights_gib(Path(name)) if name and Path(name).exists() else None
        return read_config(args.config_json), files_gib
    if name is None:
        raise UsageError("name a model: --config-json FILE, --model DIR, or a SERVICE")
    if Path(name).is_dir():
        return read_config(Path(name) / "config.json"), weights_gib(Path(name))
    if Path(name).suffix == ".gguf" and Path(name).is_file():
        beside = Path(name).with_name("config.json")
        if not beside.is_file():
            raise UsageError(f"{name}: name the original model's config.json with --config-json")
        return read_config(beside), weights_gib(Path(name))
    whose = settings if settings is not None else Settings("vllm", name)
    home = environment_of(whose)["HF_HOME"]
    config = read_model_config(name, whose.revision, home) or known_config(name)
    if config is None:
        raise UsageError(
            f"{name}: no such directory, not in the cache {home}, and not a model known by name; "
            "give its config.json with --config-json"
        )
    return config, None


def _status(file: Path) -> Mapping[str, Any]:
    """Return what the running agent shows, nothing where there is none."""
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _smallest_card(status: Mapping[str, Any]) -> tuple[float, str]:
    """Return GiB and name of the smallest card here; raises UsageError where none is seen."""
    cards = status.get("gpus") or ()
    sizes = [
        (card["memory"]["total_bytes"] - (card["memory"].get("reserved_bytes") or 0), card["name"])
        for card in cards
        if card.get("memory")
    ]
    if not sizes:
        raise UsageError(
            "the agent sees no GPU here: give the memory of one with --gpu-memory-gib (nvidia-smi "
            "--query-gpu=memory.total,memory.reserved --format=csv: the difference, over 1024)"
        )
    size, name = min(sizes)
    return float(size) / GIB, str(name or "")


def _measured(
    args: argparse.Namespace, settings: Settings | None, status: Mapping[str, Any]
) -> Measured:
    """Return what vLLM printed when these settings served; the cache only if nothing is changed."""
    service = (status.get("services") or {}).get(settings.name) if settings is not None else None
    proven = service.get("proven") if service else None
    if not proven or any(getattr(args, name) is not None for name in ANOTHER_MODEL):
        return Measured()
    changed = any(getattr(args, name) is not None for name in ASKED)
    return Measured(
        weights_gib=proven["weights_gib"],
        cuda_graph_gib=None if changed else proven["cuda_graph_gib"],
        available_kv_gib=None if changed else proven["available_kv_gib"],
    )


def _request(
    args: argparse.Namespace, settings: Settings | None, files_gib: float | None
) -> PlanRequest:
    status = _status(args.status)
    memory_gib, gpu_name = args.gpu_memory_gib, args.gpu_name or ""
    if memory_gib is None:
        memory_gib, found = _smallest_card(status)
        gpu_name = gpu_name or found
    if not 0 < memory_gib < MOST_GIB:
        raise UsageError(f"--gpu-memory-gib {memory_gib:g} is no card's memory")
    if args.weights_gib is not None and not 0 < args.weights_gib < MOST_GIB:
        raise UsageError(f"--weights-gib {args.weights_gib:g} is no model's size")
    asked: dict[str, Any] = {}
    for name in ASKED:
        value = getattr(args, name)
        if isinstance(value, int | float) and not 0 < value < math.inf:
            raise UsageError(f"--{name.replace('_', '-')} {value:g} is not above 0")
        if value is None and settings is not None:
            value = getattr(settings, name)
        if value is not None:
            asked[name] = value
    version = args.vllm_version
    if version is None and settings is not None:
        version = install_of(settings).version
    return PlanRequest(
        gpu_memory_gib=memory_gib,
        version=version_of(version),
        weights_gib=args.weights_gib,
        files_gib=files_gib,
        measured=_measured(args, settings, status),
        gpu_name=gpu_name,
        **asked,
    )


def json_of(plan: Plan, advice: tuple[str, ...]) -> str:
    """Return the documented JSON."""
    shape = {
        "verdict": plan.verdict.value,
        "reason": plan.reason,
        "weights_gib": round(plan.weights.gib, 3),
        "activation_gib": round(plan.activation.gib, 3),
        "non_torch_gib": round(plan.non_torch.gib, 3),
        "cuda_graph_gib": round(plan.cuda_graphs.gib, 3),
        "available_kv_gib": round(plan.available_kv_gib, 3),
        "error_gib": round(plan.error_gib, 3),
        "needed_kv_gib": round(plan.needed_kv_gib, 3),
        "kv_bytes_per_token": round(plan.kv.bytes_per_token),
        "kv_tokens": plan.kv_tokens,
        "max_concurrency": round(plan.max_concurrency, 2),
        "max_model_len": plan.max_model_len,
        "largest_max_model_len": plan.largest_max_model_len,
        "terms": terms(plan),
        "advice": list(advice),
    }
    return json.dumps(shape, indent=2)


def human(model: Model, plan: Plan, advice: tuple[str, ...]) -> str:
    """Return the same as a table for a person."""
    request = plan.request
    gpus = request.tensor_parallel_size * request.pipeline_parallel_size
    each = " (each of them)" if gpus > 1 else ""
    release = ".".join(map(str, request.version.release))
    lines = [
        f"{model.architecture} on {gpus} x {request.gpu_memory_gib:g} GiB{each}, vLLM {release}, "
        f"gpu_memory_utilization {request.utilization:g}",
        "",
    ]
    for row in terms(plan):
        error = f"± {row['error_gib']:.2f}" if row["error_gib"] else ""
        lines.append(f"  {row['name']:<13}{row['gib']:>9.2f} GiB {error:<7} {row['how']}")
    lines += [
        "",
        f"KV cache: {plan.kv.bytes_per_token:,.0f} bytes a token, {plan.kv_tokens:,} tokens, "
        f"{plan.max_concurrency:.2f} requests of {plan.max_model_len:,} tokens at once; "
        f"the longest request that fits has {plan.largest_max_model_len:,}",
        f"{plan.verdict.value}: {plan.reason}",
        *(f"  - {sentence}" for sentence in advice),
    ]
    return "\n".join(lines)
