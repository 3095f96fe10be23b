# SPDX-License-Identifier: Apache-2.0
"""What keeps the ranks of a service from coming together, asked of the other hosts' agents."""

from __future__ import annotations

from collections.abc import Iterator

from agent.core.cluster.lessons import within
from agent.core.cluster.same import differences, power_of, same_of
from agent.core.command.picture import picture_of
from agent.core.engine.install import Engine
from agent.core.planner.asked.reading import overridden
from agent.core.planner.config_keys import NotAModelError
from agent.core.planner.model import model_of
from agent.core.planner.terms.formats import UnknownQuantizationError
from agent.core.settings.gpus import Power
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import Settings, Tunable
from agent.core.unit.environment import environment_of
from agent.errors import AgentError
from agent.host.models.config import read_model_config
from agent.host.models.known import known_config
from agent.tasks.cluster.ask_peers import PeerTold, ask_peers
from agent.tasks.fleet.check_fleet import what_keeps_from_asking

Found = tuple[str, bool, str]
"""A key below the service's table, whether no rank can start so, and a sentence."""


def compared_with_peers(
    settings: Settings, recovery: Recovery, engine: Engine, power: Power
) -> Iterator[Found]:
    """Yield what is not as it must be; nothing of a service that one host serves."""
    cluster = settings.cluster
    if cluster is None:
        return
    if not settings.model.startswith("/") and settings.revision is None:
        text = "each host takes what its branch has when it fetches; give all the same commit"
        yield "revision", False, text
    if settings.api_key_file is not None and settings.headless:
        yield "api_key_file", False, "nobody asks this host for anything; leave it to the head"
    yield from _without_experts(settings, engine)
    for key, certain, sentence in (wrong := tuple(what_keeps_from_asking(cluster))):
        yield f"cluster.{key}", certain, sentence
    if any(certain for _, certain, _ in wrong):
        return  # nobody can be asked so
    try:
        told = ask_peers(cluster, settings.name)
    except AgentError as error:
        yield "cluster", True, str(error)
        return
    for peer in told:
        if peer.member is None:
            yield "cluster.peers", False, f"{peer.address}: {peer.problem}"
    yield from _places(cluster.member, told)
    for peer in told:
        yield from _unlike(settings, recovery, engine, peer)
        theirs = {} if peer.member is None else peer.member.same
        for one in differences(power_of(power), theirs):
            text = f"{one.name} is {one.here} here and {one.there} on {peer.name}"
            yield "cluster", False, f"{text}: the slowest card sets the pace of all ranks"


def _without_experts(settings: Settings, engine: Engine) -> Iterator[Found]:
    """Yield that vLLM refuses an address a replica of a dense model (arg_utils.py, 0.24..0.33)."""
    cluster = settings.cluster
    if cluster is None or cluster.data_parallel_rank is None or not engine.at_least(0, 24):
        return
    home = environment_of(settings).get("HF_HOME", "")
    config = read_model_config(settings.model, settings.revision, home)
    config = known_config(settings.model) if config is None else config
    try:
        if config is None or model_of(overridden(config, picture_of(settings))).experts is not None:
            return
    except (NotAModelError, UnknownQuantizationError, ValueError, TypeError, KeyError):
        return
    text = "is for a model whose experts the replicas share, and this one has none: vLLM refuses it"
    yield (
        "cluster.data_parallel_rank",
        True,
        f"{text}; give each host a service of its own, without [service.{settings.name}.cluster]",
    )


def _places(own: int, told: tuple[PeerTold, ...]) -> Iterator[Found]:
    taken = {own: "this host"}
    for peer in told:
        if peer.member is None:
            continue
        number = peer.member.member
        if number in taken:
            text = f"{peer.name} is member {number}, as {taken[number]} is; look at their ranks"
            yield "cluster", True, text
        taken.setdefault(number, peer.name)
    heads = [number for number in taken if number == 0]
    if not heads and all(peer.member is not None for peer in told):
        yield "cluster", True, "no host is the head (node_rank or data_parallel_start_rank 0)"


def _unlike(
    settings: Settings, recovery: Recovery, engine: Engine, peer: PeerTold
) -> Iterator[Found]:
    if peer.member is None:
        return
    # What one host has learned all use, so only what is asked or installed can differ for good.
    learned: dict[str, Tunable] = {}
    for name, one in peer.member.lessons.items():
        if one.value is None:
            continue
        learned[name] = one.value
        if not within(name, one.value, recovery):
            text = f"{peer.name} has learned {name} = {one.value}, and recovery here does not go"
            yield "recovery", False, f"{text} so far: the ranks do not start until it may"
    mine = same_of(settings.with_overrides(learned), engine.version, engine.torch)
    for unlike in differences(mine, peer.member.same):
        text = f"{unlike.name} is {unlike.here} here and {unlike.there} on {peer.name}"
        yield "cluster", False, f"{text}: no rank starts until all hosts are the same"
