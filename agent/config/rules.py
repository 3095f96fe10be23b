# SPDX-License-Identifier: Apache-2.0
"""What must hold between keys and between services, once each value is right by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

from agent.config.values import Mistake
from agent.core.command.parallel import parallel_of
from agent.core.command.picture import picture_of
from agent.core.command.start_method import FORK, VARIABLE, why_not_forked
from agent.core.engine.credentials import ALL_MUST
from agent.core.engine.defaults import default_utilization
from agent.core.settings.config import Config
from agent.core.settings.service import Settings
from agent.host.machine.boot import in_wsl
from agent.host.vllm.install import install_of, version_of

EVERYWHERE = frozenset({"0.0.0.0", "::", "[::]"})  # noqa: S104
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def check_together(config: Config) -> Iterator[Mistake]:
    """Find what cannot work together: names, ports, GPUs and their memory."""
    settings = [policy.settings for policy in config.services.values()]
    yield from _sockets(settings)
    yield from _rays(settings)
    for one in settings:
        yield from _tls(one)
        yield from _start_method(one)
    yield from _ports(config, settings)
    for one in settings:
        yield from _enough_gpus(one)
    yield from _memory(settings)


def _tls(settings: Settings) -> Iterator[Mistake]:
    path = ("service", settings.name)
    pairs = (("ssl_certfile", "ssl_keyfile"), ("client_certfile", "client_keyfile"))
    for key, other in (*pairs, *(pair[::-1] for pair in pairs)):
        if getattr(settings, key) is not None and getattr(settings, other) is None:
            yield Mistake((*path, key), f"means nothing without {other}; give both")
    for key in ("ssl_ca_certs", "ssl_cert_reqs", "client_certfile"):
        if getattr(settings, key) and settings.ssl_certfile is None:
            yield Mistake((*path, key), "means nothing without ssl_certfile, ssl_keyfile")
    if settings.ssl_cert_reqs and settings.ssl_ca_certs is None:
        yield Mistake((*path, "ssl_cert_reqs"), "vLLM knows no client without ssl_ca_certs")
    if settings.ssl_cert_reqs == ALL_MUST and settings.client_certfile is None:
        why = "refuses llmagent's own requests, too; give client_certfile and client_keyfile"
        yield Mistake((*path, "ssl_cert_reqs"), why)
    if settings.uds is not None and settings.ssl_certfile is not None:
        yield Mistake((*path, "uds"), "a Unix socket needs no TLS; give one of the two")


def _start_method(settings: Settings) -> Iterator[Mistake]:
    path = ("service", settings.name, "start_method")
    if settings.start_method is not None and VARIABLE in settings.environment:
        yield Mistake(path, f"{VARIABLE} is set in environment as well; give one of the two")
    if settings.start_method == FORK:
        on_cpu = install_of(settings).engine(None).runs_on_cpu
        for why in why_not_forked(settings, on_cpu=on_cpu, in_wsl=in_wsl()):
            yield Mistake(path, f"fork cannot be had: {why}; take the key away")


def _sockets(settings: list[Settings]) -> Iterator[Mistake]:
    """Find sockets in one directory: each unit makes its own, and takes it away at its end."""
    with_socket = [one for one in settings if one.uds is not None]
    for one, other in combinations(with_socket, 2):
        if str(one.uds).rpartition("/")[0] == str(other.uds).rpartition("/")[0]:
            text = f"its directory is service.{one.name}'s; give each service its own"
            yield Mistake(("service", other.name, "uds"), text)


def _rays(settings: list[Settings]) -> Iterator[Mistake]:
    taken = {
        f"{one.name}-ray": one.name for one in settings if one.cluster and one.cluster.ray_port
    }
    for one in settings:
        if one.name in taken:
            text = f"is the name of the unit of service.{taken[one.name]}'s Ray; choose another"
            yield Mistake(("service", one.name), text)


def _ports(config: Config, settings: list[Settings]) -> Iterator[Mistake]:
    settings = [one for one in settings if one.uds is None and not one.headless]
    for one, other in combinations(settings, 2):
        if one.port == other.port and _overlap(one.host, other.host):
            text = f"{other.port} is taken by service.{one.name}; give each service its own port"
            yield Mistake(("service", other.name, "port"), text)
    for one in settings:
        if one.port == config.metrics.port and _overlap(one.host, config.metrics.address):
            text = f"{config.metrics.listen} is where service.{one.name} listens"
            yield Mistake(("metrics", "listen"), text)


def _overlap(one: str, other: str) -> bool:
    if one in EVERYWHERE or other in EVERYWHERE or one == other:
        return True
    return one in LOOPBACK and other in LOOPBACK


def _enough_gpus(settings: Settings) -> Iterator[Mistake]:
    needed = parallel_of(picture_of(settings)).gpus
    if settings.gpus != ("all",) and needed > len(settings.gpus):
        text = f"{len(settings.gpus)} listed, but tensor x pipeline x data needs {needed}"
        yield Mistake(("service", settings.name, "gpus"), text)


def _memory(settings: list[Settings]) -> Iterator[Mistake]:
    """Two services on one GPU share its memory: the second cannot start when they ask above 1.

    One with kv_cache_memory_bytes asks for no share.
    """
    settings = [one for one in settings if one.kv_cache_memory_bytes is None]
    seen: set[frozenset[str]] = set()
    cards = {gpu for one in settings for gpu in one.gpus}
    for card in sorted(cards):
        sharing = [one for one in settings if card in one.gpus or "all" in one.gpus]
        names = frozenset(one.name for one in sharing)
        if len(sharing) < 2 or names in seen:
            continue
        unsaid = [one for one in sharing if one.gpu_memory_utilization is None]
        taken = {one.name: default_utilization(version_of(one)) for one in unsaid}
        asked = [one.gpu_memory_utilization or taken[one.name] for one in sharing]
        if round(sum(asked), 6) <= 1:
            continue
        seen.add(names)
        others = ", ".join(f"service.{one.name}" for one in sharing[:-1])
        text = (
            f"shares a GPU with {others}, and together they ask for {sum(asked):.2f} of its memory"
            f"{_unasked(taken)}; lower it or give them different gpus"
        )
        yield Mistake(("service", sharing[-1].name, "gpu_memory_utilization"), text)


def _unasked(taken: Mapping[str, float]) -> str:
    """Say what the services count as that ask for no share."""
    said = ", ".join(f"service.{name} takes {share:g} unasked" for name, share in taken.items())
    return f" ({said})" if said else ""
