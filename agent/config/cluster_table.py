# SPDX-License-Identifier: Apache-2.0
"""[service.NAME.cluster] -> ClusterSettings."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from agent.config.engine_values import token_file
from agent.config.values import (
    Keys,
    Mistake,
    WrongValueError,
    as_toml,
    boolean,
    host,
    integer,
    plain_path,
    read_table,
    text,
    user_of_http,
)
from agent.core.command.given import read_words
from agent.core.settings.cluster import OPTIONS, RAY_OPTION, ClusterSettings
from agent.core.settings.hosts import host_of
from agent.errors import UsageError

MOST_HOSTS = 64
"""Each host asks each other one every second or so; vLLM over more hosts is not known to us."""

_INTERFACE = re.compile(r"[A-Za-z0-9_.:@-]{1,15}")
"""Linux's names have 15 characters at most (IFNAMSIZ, netdevice(7))."""


def _address(value: object) -> str:
    name = text(value)
    try:
        return str(ipaddress.ip_address(name))
    except ValueError as error:
        raise WrongValueError(f"{as_toml(name)} is not an IP address") from error


def _interface(value: object) -> str:
    name = text(value)
    if not _INTERFACE.fullmatch(name):
        raise WrongValueError(f"{as_toml(name)} is not the name of an interface (ip link)")
    return name


def _peers(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise WrongValueError(f'{as_toml(value)} is not a list of hosts, as ["10.0.0.2"]')
    peers = tuple(_peer(item) for item in value)
    twice = next((peer for peer in peers if peers.count(peer) > 1), None)
    if twice is not None:
        raise WrongValueError(f"{twice} is named twice; give each other host once")
    if len(peers) >= MOST_HOSTS:
        raise WrongValueError(f"{len(peers)} are too many; {MOST_HOSTS - 1} at most")
    return peers


def _peer(value: object) -> str:
    """Read HOST, HOST:PORT, http:// or https:// of another host's agent."""
    name = text(value)
    try:
        address = host_of(name).address
    except UsageError as error:
        raise WrongValueError(str(error)) from error
    if urlsplit(address).path:
        raise WrongValueError(f"{as_toml(name)} is no host: a peer's address has no path")
    return address


CLUSTER: Keys = {
    "peers": _peers,
    "host_ip": _address,
    "interface": _interface,
    "nnodes": integer(2, MOST_HOSTS),
    "node_rank": integer(0, MOST_HOSTS - 1),
    "master_addr": host,
    "master_port": integer(1, 65535),
    "ray_port": integer(1, 65535),
    "data_parallel_address": host,
    "data_parallel_rpc_port": integer(1, 65535),
    "data_parallel_size_local": integer(0, 1024),
    "data_parallel_start_rank": integer(0, 1023),
    "data_parallel_rank": integer(0, 1023),
    "data_parallel_hybrid_lb": boolean,
    "headless": boolean,
    "user": user_of_http,
    "password_file": token_file,
    "ca_file": plain_path,
}


def read_cluster(
    table: Mapping[str, Any], path: tuple[str, ...], mistakes: list[Mistake]
) -> ClusterSettings | None:
    """Read the `cluster` table of a service's table that has one; None where it is wrong."""
    below = (*path, "cluster")
    before = len(mistakes)
    values = read_table(table["cluster"], below, CLUSTER, mistakes)
    if len(mistakes) > before:
        return None
    if "headless" in values:
        values["headless_asked"] = values.pop("headless")
    cluster = ClusterSettings(**values)
    if not cluster.host_ip and cluster.is_head and _is_address(cluster.meeting_address):
        cluster = replace(cluster, host_ip=cluster.meeting_address)
    mistakes += [Mistake((*path, *key), why) for key, why in _contradictions(table, cluster)]
    return cluster


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


Wrong = tuple[tuple[str, ...], str]


def _contradictions(table: Mapping[str, Any], cluster: ClusterSettings) -> Iterator[Wrong]:
    if not cluster.peers:
        yield ("cluster", "peers"), "missing; name the other hosts, whose agents are asked"
    if cluster.nnodes is None and cluster.data_parallel_address is None:
        yield (
            ("cluster",),
            "says not how the hosts share the model: give nnodes, node_rank and master_addr, or"
            " data_parallel_address",
        )
        return
    if not cluster.host_ip:
        yield (
            ("cluster", "host_ip"),
            "missing; give the address of this host at which the others reach its engine",
        )
    elif ipaddress.ip_address(cluster.host_ip).is_loopback:
        yield ("cluster", "host_ip"), f"{cluster.host_ip} is no address that other hosts reach"
    yield from _of_nodes(table, cluster)
    yield from _of_replicas(table, cluster)
    yield from _of_ray(table, cluster)
    if cluster.headless_asked is False and cluster.nnodes is not None and cluster.member > 0:
        yield ("cluster", "headless"), "only node_rank 0 takes requests; leave it out"
    if cluster.headless_asked and cluster.is_head:
        yield ("cluster", "headless"), "the head takes the requests; leave it out"
    if cluster.password_file is not None and not cluster.user:
        yield ("cluster", "password_file"), "is for a user; give user, too"
    given = table.get("extra_args", ())
    words = tuple(given) if isinstance(given, list) else ()
    for option in read_words([str(word) for word in words]).options:
        if option.name in OPTIONS:
            why = f"{option.spelled} has a key of its own here: cluster.{option.name}"
            yield ("extra_args",), why
        if option.name == RAY_OPTION and cluster.ray_port is not None:
            yield ("extra_args",), f"{option.spelled} follows from cluster.ray_port; leave it out"


def _of_nodes(table: Mapping[str, Any], cluster: ClusterSettings) -> Iterator[Wrong]:
    nnodes = cluster.nnodes
    if nnodes is None:
        for key in ("node_rank", "master_addr", "master_port", "ray_port"):
            if getattr(cluster, key) is not None:
                yield ("cluster", key), "means nothing without nnodes"
        return
    for key in ("node_rank", "master_addr"):
        if getattr(cluster, key) is None:
            yield ("cluster", key), "missing; nnodes needs it"
    if cluster.node_rank is not None and cluster.node_rank >= nnodes:
        yield ("cluster", "node_rank"), f"must be below nnodes, {nnodes}: ranks begin with 0"
    if cluster.peers and cluster.size != nnodes:
        yield (
            ("cluster", "peers"),
            f"{len(cluster.peers)} named, but nnodes = {nnodes} has {nnodes - 1} other hosts",
        )
    replica = _whole(table, "tensor_parallel_size") * _whole(table, "pipeline_parallel_size")
    if replica % nnodes:
        yield (
            ("cluster", "nnodes"),
            f"{nnodes} hosts cannot share tensor x pipeline = {replica} GPUs evenly:"
            " tensor_parallel_size and pipeline_parallel_size count the GPUs of all hosts",
        )


def _of_replicas(table: Mapping[str, Any], cluster: ClusterSettings) -> Iterator[Wrong]:
    size, local = _whole(table, "data_parallel_size"), cluster.data_parallel_size_local
    yield from _of_balancing(cluster)
    if cluster.data_parallel_address is None:
        for key in OPTIONS:
            if key.startswith("data_parallel") and getattr(cluster, key) is not None:
                yield ("cluster", key), "means nothing without data_parallel_address"
        return
    if size < 2:
        yield ("data_parallel_size",), "missing; give the number of replicas on all hosts"
        return
    if cluster.data_parallel_rank is not None:
        if cluster.data_parallel_rank >= size:
            yield ("cluster", "data_parallel_rank"), f"must be below data_parallel_size, {size}"
        if cluster.data_parallel_start_rank is not None or cluster.data_parallel_hybrid_lb:
            why = "is one rank a process; leave out data_parallel_start_rank and _hybrid_lb"
            yield ("cluster", "data_parallel_rank"), why
        return
    if local is None and cluster.nnodes is None:
        yield (
            ("cluster", "data_parallel_size_local"),
            "missing; without it vLLM puts all replicas on this host",
        )
    first = cluster.data_parallel_start_rank or 0
    if local is not None and first + local > size:
        yield (
            ("cluster", "data_parallel_size_local"),
            f"ranks {first} to {first + local - 1} of data_parallel_size = {size}: too many",
        )
    if local == 0 and not cluster.is_head:
        yield ("cluster", "data_parallel_size_local"), "0 is for a head that only takes requests"


def _of_balancing(cluster: ClusterSettings) -> Iterator[Wrong]:
    """Yield what vLLM refuses, or would wait for for ever (arg_utils.py, 0.32)."""
    if cluster.nnodes is not None:
        # A host of nnodes that is not the first is headless, and has no address of its own.
        for key in ("data_parallel_hybrid_lb", "data_parallel_rank"):
            if getattr(cluster, key) not in (None, False):
                yield ("cluster", key), "gives each host an address of its own; leave nnodes out"
    first = cluster.data_parallel_start_rank or 0
    if cluster.headless_asked is False and first and not cluster.data_parallel_hybrid_lb:
        why = "a host that is not the first takes requests with data_parallel_hybrid_lb alone"
        yield ("cluster", "headless"), f"{why}; give that on all hosts, or leave this out"
    if cluster.headless_asked and cluster.data_parallel_hybrid_lb:
        why = "with data_parallel_hybrid_lb each host takes requests; leave one of the two out"
        yield ("cluster", "headless"), why


def _of_ray(table: Mapping[str, Any], cluster: ClusterSettings) -> Iterator[Wrong]:
    if cluster.ray_port is None:
        return
    if cluster.master_port is not None:
        yield ("cluster", "master_port"), "is vLLM's own meeting point; with ray_port leave it out"
    if cluster.data_parallel_address is not None:
        why = "puts replicas on hosts, and Ray shares one among them; leave one of the two out"
        yield ("cluster", "data_parallel_address"), why
    engine = table.get("engine")
    if isinstance(engine, dict) and engine.get("runtime", "venv") != "venv":
        yield ("cluster", "ray_port"), "starts Ray from a virtual environment, not from an image"


def _whole(table: Mapping[str, Any], key: str) -> int:
    value = table.get(key, 1)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 1
