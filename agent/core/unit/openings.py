# SPDX-License-Identifier: Apache-2.0
"""What a deployment needs open in its sandbox, and what of that the sandbox keeps closed.

Found in the whole command line and environment: GPUs that talk to each other, directories to write
to (tiers of a KV cache on disk, dumps, traces), addresses of collectors and peers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from agent.core.command.parallel import parallel_of
from agent.core.command.picture import picture_of
from agent.core.settings.engine import Runtime
from agent.core.settings.service import Sandbox, Settings
from agent.core.unit.named_paths import Use, paths_named, texts_named

SHARED = ("/tmp", "/var/tmp")  # noqa: S108
HOMES = ("/home", "/root", "/run/user")

_PLAIN = re.compile(r"(?:/(?!\.\.?(?:/|$))[\w.@+,=~ -]+)+/?", re.ASCII)
"""Paths that a unit's list can hold, and that lead nowhere else."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", ""})  # noqa: S104
_TRANSFERS = ("kv_transfer_config", "ec_transfer_config")
IPC_CACHE = "ipc_cache"
_USERNS = "--userns="


def gpus_of(settings: Settings) -> int:
    """Return how many GPUs of this host the service takes, by its keys and extra_args."""
    here = parallel_of(picture_of(settings)).gpus
    return here if settings.cluster is not None else max(settings.parallel_size, here)


def reaches_out(settings: Settings) -> bool:
    """Tell whether something asked for lies at an address of another host."""
    return moves_kv(settings) or any(_is_elsewhere(text) for _, text in texts_named(settings))


def forbidden(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each thing that the settings ask for and the sandbox keeps closed."""
    if settings.sandbox is Sandbox.OFF or settings.engine.in_container:
        return  # a container sees what is mounted into it, and no file else
    picture = picture_of(settings)
    sockets = picture.text("weight_cache_socket_dir")
    if picture.text("load_format") == IPC_CACHE and sockets is None:
        yield (
            "load-format ipc_cache looks for the weight daemon's socket in the temporary directory,"
            " which is vLLM's own in the sandbox; give --weight-cache-socket-dir, and name that in"
            " writable_directories"
        )
    for named in paths_named(settings):
        name, path = named.name, named.path
        if _is_open(settings, path) or named.use is Use.READ:
            continue
        if _is_hidden(settings, path):
            yield f"{name}: the sandbox hides {path}; name it in writable_directories"
        elif settings.sandbox is Sandbox.STRICT and named.use is Use.WRITE:
            yield f"{name}: vLLM cannot write to {path}; name it in writable_directories"


def read_only(settings: Settings) -> Iterator[str]:
    """Yield what options and variables have vLLM read where the sandbox hides it otherwise.

    Adapters, a drafter, plugins and the like in a home: the unit shows them as it shows the model.
    """
    for named in paths_named(settings):
        hidden = _is_hidden(settings, named.path) and not _is_open(settings, named.path)
        if named.use is Use.READ and hidden and _PLAIN.fullmatch(named.path):
            yield named.path


def moves_kv(settings: Settings) -> bool:
    """Tell whether KV caches go to other engines: over InfiniBand where there is any."""
    picture = picture_of(settings)
    return any(picture.table(name) for name in _TRANSFERS)


def wants_own_ids(settings: Settings) -> bool:
    """Tell whether podman is asked for a range of user ids of the container's own."""
    options = settings.engine.extra_options
    return settings.engine.runtime is Runtime.PODMAN and any(
        option == f"{_USERNS}auto" or option.startswith(f"{_USERNS}auto:") for option in options
    )


def _is_open(settings: Settings, path: str) -> bool:
    user = "" if settings.user == "vllm" else f"-{settings.user}"
    own = (f"/var/lib/vllm{user}", f"/var/cache/vllm{user}", "/dev")
    homes = (settings.environment.get("HF_HOME", ""), settings.environment.get("HF_HUB_CACHE", ""))
    open_ones = (*own, *settings.writable_directories, *(home for home in homes if home))
    return any(path == one or path.startswith(f"{one}/") for one in open_ones)


def _is_hidden(settings: Settings, path: str) -> bool:
    homes = settings.sandbox is Sandbox.STRICT and _below(path, HOMES)
    return homes or _below(path, SHARED)


def _below(path: str, directories: tuple[str, ...]) -> bool:
    return any(path.startswith(f"{one}/") for one in directories)


def _is_elsewhere(text: str) -> bool:
    if "://" not in text:
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return True
    return parts.scheme not in ("file", "unix", "ipc") and (parts.hostname or "") not in _LOOPBACK
