# SPDX-License-Identifier: Apache-2.0
"""`llmagent plan`: whether a model fits a GPU with these settings, every GiB named.

--format json prints {"verdict": "fits" | "tight" | "not known" | "does not fit", "reason",
"weights_gib", "activation_gib", "non_torch_gib", "cuda_graph_gib", "available_kv_gib", "error_gib",
"needed_kv_gib", "kv_bytes_per_token", "kv_tokens", "max_concurrency", "max_model_len",
"largest_max_model_len", "terms": [{"name", "gib", "error_gib", "how"}], "advice": [sentence],
"notes": [sentence], "not_known": [sentence], "gpus", "gpu": {"name", "memory_gib"},
"host_memory": [{"name", "gib", "how"}], "decode_roof_tokens_per_second"}; GiB of one GPU, those of
host_memory of the host; weights_gib is what vLLM prints once it has loaded, with a drafter's.
--cards, --formats and --sweep print {"cards"}, {"formats"} and {"contexts", "users"}, lists of rows
with keys of the same meaning. Exit status 0, or 1 when it does not fit; 2 for inputs that make no
plan.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent.cli.planning.ground import (
    earlier_start,
    ground_of,
    notes_on_memory,
    release_or_mistake,
)
from agent.cli.planning.print_tables import (
    CARDS,
    FORMATS,
    SWEEP,
    USERS,
    first_that_fit,
    table,
)
from agent.cli.planning.shown import Shown, human, json_of
from agent.cli.planning.subject import Subject, subject_of
from agent.cli.planning.tables import (
    Question,
    cards_table,
    formats_table,
    sweep_table,
    users_table,
)
from agent.cli.planning.words import Divided
from agent.cli.planning.words import divide as divide_words
from agent.core.planner.advice import advice_for
from agent.core.planner.asked.ask import Beside
from agent.core.planner.asked.reading import Ground
from agent.core.planner.config_keys import NotAModelError
from agent.core.planner.model import Model, model_of
from agent.core.planner.overheads import Term
from agent.core.planner.question import Fit, PlanRequest
from agent.core.planner.terms.cache_format import AUTO, cached_as
from agent.core.planner.terms.formats import UnknownQuantizationError
from agent.core.planner.versions import version_of
from agent.errors import UsageError
from agent.host.data.cards import known_cards, read_prices
from agent.host.models.draft import draft_of
from agent.places import CONFIG_FILE, STATUS_FILE

if TYPE_CHECKING:
    from argparse import _SubParsersAction


EXAMPLES = """\
every option of `vllm serve` is taken in vLLM's own spellings: -tp 2, --max-model-len 32k or auto,
--kv-cache-dtype fp8, --speculative-config '{...}', --enable-lora, --language-model-only, ...

  llmagent plan vllm                                    a service of agent.toml
  llmagent plan old-vllm.service                        a unit that is not llmagent's
  llmagent plan --gpu "RTX 4090" -- vllm serve MODEL --max-model-len 32k
  llmagent plan MODEL --config vllm.yaml --gpu L40S     a file of vLLM's --config
  llmagent plan MODEL --cards --prices prices.toml      which card do I need?
  llmagent plan MODEL --formats --gpu L4                16 bits, FP8, AWQ, NVFP4 side by side
  llmagent plan MODEL --sweep --gpu H100                contexts and users
"""


def divide(words: Sequence[str]) -> Divided:
    """Divide the words behind `plan` into its own, vLLM's, and a command line behind "--"."""
    return divide_words(words)


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `llmagent`."""
    parser = subparsers.add_parser(
        "plan",
        help="memory arithmetic for a model, GPU and settings",
        usage="llmagent plan [SERVICE | UNIT | MODEL | -- vllm serve MODEL ...] [options]",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "service",
        metavar="WHAT",
        nargs="?",
        help="a service of agent.toml, a systemd unit, or a model's name or directory",
    )
    parser.add_argument(
        "--config-json",
        metavar="FILE",
        type=Path,
        help="plan the model of this config.json; default: the one found by the model's name",
    )
    parser.add_argument(
        "--model",
        metavar="DIR|NAME",
        help="the model's directory, or its name on the hub; default: what WHAT or -- names",
    )
    parser.add_argument(
        "--gpu",
        metavar="NAME",
        help='plan for this card, as "RTX 4090" or L40S; default: the smallest card here',
    )
    parser.add_argument(
        "--gpu-memory-gib",
        metavar="GIB",
        help="memory of one card in GiB, as its driver shows it; default: that of --gpu",
    )
    parser.add_argument(
        "--gpu-name",
        metavar="NAME",
        help="the card's name where --gpu-memory-gib gives its memory; default: not known",
    )
    parser.add_argument(
        "--free-gib",
        metavar="GIB",
        help="GiB of a card that its neighbours leave free; default: all but the driver's share",
    )
    parser.add_argument(
        "--weights-gib",
        metavar="GIB",
        help="GiB of weights on one GPU, as vLLM printed them; default: counted",
    )
    parser.add_argument(
        "--vllm-version",
        metavar="VERSION",
        help="the release that shall run, as 0.28.0; default: the installed, else the newest known",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        default=CONFIG_FILE,
        help=f"agent.toml that WHAT is looked up in, or a .yaml of vLLM's own --config; "
        f"default: {CONFIG_FILE}",
    )
    parser.add_argument(
        "--cards",
        action="store_true",
        help="print a table of cards instead: the fewest of each that hold the model",
    )
    parser.add_argument(
        "--prices",
        metavar="FILE",
        type=Path,
        help='with --cards: a TOML file with lines like "RTX 4090" = 0.35 under [prices]',
    )
    parser.add_argument(
        "--formats",
        action="store_true",
        help="print a table of weight and KV cache formats instead",
    )
    parser.add_argument(
        "--sweep",
        action="store_true",
        help="print tables of context lengths and of requests at once instead",
    )
    parser.add_argument(
        "--format",
        choices=("human", "json"),
        default="human",
        help="how the plan is printed; default: human",
    )
    parser.add_argument("--status", type=Path, default=STATUS_FILE, help=argparse.SUPPRESS)
    parser.set_defaults(run=run, words=Divided(()))


def run(args: argparse.Namespace) -> int:
    """Plan and print; raises UsageError when the inputs make no plan."""
    try:
        return _run(args)
    except (NotAModelError, UnknownQuantizationError) as error:
        raise UsageError(str(error)) from error


def _run(args: argparse.Namespace) -> int:
    if args.prices is not None and not args.cards:
        raise UsageError("--prices is for --cards")
    subject = subject_of(args, args.words)
    model = model_of(subject.config)
    if args.cards:
        return _print_cards(args, subject, model)
    ground, card = ground_of(args, subject)
    earlier = earlier_start(args, subject, model, ground)
    question = Question(model, subject.picture, ground, card, earlier)
    if args.formats:
        rows = formats_table(question)
        _print(args, {"formats": rows}, table(rows, FORMATS))
        return 0
    if args.sweep:
        contexts, users = sweep_table(question), users_table(question)
        tables = f"{table(contexts, SWEEP)}\n\n{table(users, USERS)}"
        _print(args, {"contexts": contexts, "users": users}, tables)
        return 0
    shown = question.answer()
    shown = replace(
        shown,
        advice=advice_for(model, shown.plan),
        notes=(*subject.notes, *notes_on_memory(args, ground), *_notes(subject, shown)),
        host=_host(subject, shown),
    )
    print(json_of(shown) if args.format == "json" else human(shown))
    return 1 if shown.plan.verdict is Fit.DOES_NOT_FIT else 0


def _print_cards(args: argparse.Namespace, subject: Subject, model: Model) -> int:
    prices, unit = read_prices(args.prices) if args.prices is not None else ({}, "")
    request = PlanRequest(
        gpu_memory_gib=0.0,
        version=version_of(release_or_mistake(args.vllm_version) or subject.version),
        files_gib=subject.files_gib,
    )
    ground = Ground(request, draft=draft_of(subject.picture, subject.home))
    question = Question(model, subject.picture, ground)
    rows = cards_table(question, list(known_cards().values()), prices)
    columns = (*CARDS, ("price", f"price {unit}".strip())) if prices else CARDS
    length = rows[0]["max_model_len"] if rows else 0
    head = f"{model.architecture}, requests of {length} tokens at once; the fewest cards that fit:"
    _print(args, {"cards": rows, "unit": unit}, f"{head}\n{table(first_that_fit(rows), columns)}")
    return 0 if any(row["verdict"] != Fit.DOES_NOT_FIT.value for row in rows) else 1


def _print(args: argparse.Namespace, document: object, text: str) -> None:
    print(json.dumps(document, indent=2) if args.format == "json" else text)


def _notes(subject: Subject, shown: Shown) -> tuple[str, ...]:
    notes = []
    if shown.split.data > 1:
        notes.append(
            f"{shown.split.data} replicas: memory is of one GPU, tokens and requests of one replica"
        )
    if subject.picture.text("load_format") == "ipc_cache":
        notes.append("the preload daemon holds the weights; they count within the same share")
    request = shown.plan.request
    taken = cached_as(shown.model, request)
    if request.kv_cache_dtype == AUTO and taken != AUTO:
        notes.append(f"the KV cache is kept in {taken}, which vLLM takes unasked here")
    return tuple(notes)


def _host(subject: Subject, shown: Shown) -> tuple[Beside, ...]:
    asked = shown.plan.request.asked.host
    if not subject.picture.switch("enable_sleep_mode"):
        return asked
    gib = shown.plan.weights.gib * shown.split.gpus
    return (*asked, Beside("sleep", Term(gib, 0.0, "weights while it sleeps at level 1")))
