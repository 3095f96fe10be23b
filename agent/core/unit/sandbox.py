# SPDX-License-Identifier: Apache-2.0
"""How the unit of vLLM is confined: `strict`, `basic` or `off`.

What real vLLM needs is left open: netlink for gloo's look at the interfaces, memory policies for
NUMA, writable and executable memory for the compilers, groups of the host for the GPU's devices.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from agent.core.settings.service import Sandbox, Settings
from agent.core.unit.openings import gpus_of, moves_kv, read_only
from agent.core.unit.quoting import path_in_list

_HIDDEN_HOMES = ("/home", "/root", "/run/user")
_HIDDEN_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108
_MOUNTED_OVER = (*_HIDDEN_HOMES, *_HIDDEN_TEMPORARY)

_BASIC = (
    "NoNewPrivileges=yes",
    "ProtectSystem=full",
    "PrivateTmp=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "RemoveIPC=yes",
)

_STRICT = (
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "ProtectSystem=strict",
    "PrivateTmp=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelLogs=yes",
    "ProtectControlGroups=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "PrivateMounts=yes",
    "ProtectProc=invisible",
    "ProcSubset=all",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "RemoveIPC=yes",
    "PrivateDevices=no",
    "DevicePolicy=closed",
    # Always, as the driver may be loaded after this was written; names of no device do nothing.
    "DeviceAllow=char-nvidia* rw",
    "DeviceAllow=char-drm rw",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @clock @cpu-emulation @debug @module @mount @obsolete @raw-io "
    "@reboot @swap",
    "SystemCallFilter=@resources",
    "SystemCallErrorNumber=EPERM",
)


_BETWEEN_GPUS = (
    "DeviceAllow=char-infiniband* rw",
    "DeviceAllow=/dev/infiniband/rdma_cm rw",
    "DeviceAllow=char-gdrdrv rw",
)
"""What NCCL and NVSHMEM use where they are there: InfiniBand's verbs and GPUDirect's driver."""


def sandbox_lines(
    settings: Settings, read_paths: tuple[str, ...], *, loopback_only: bool
) -> Iterator[str]:
    """Return the directives for the sandbox that was asked for.

    `read_paths` are directories that vLLM reads besides those in its settings; each one that the
    sandbox would hide is shown to it read-only. `loopback_only` closes all other addresses.
    """
    match settings.sandbox:
        case Sandbox.OFF:
            return
        case Sandbox.BASIC:
            yield from _BASIC
            yield from _shown(settings, read_paths, _HIDDEN_TEMPORARY)
            yield from _written(settings, _HIDDEN_TEMPORARY)
        case Sandbox.STRICT:
            yield from _STRICT
            shown = (
                *_shown(settings, read_paths, _MOUNTED_OVER),
                *_own_hub_cache(settings),
                *_written(settings, _MOUNTED_OVER),
            )
            # Below "yes" nothing can be shown again, below an empty tmpfs it can.
            yield f"ProtectHome={'tmpfs' if shown else 'yes'}"
            if any("-/root/" in line for line in shown):
                # The empty /root of systemd 257 is closed to all but root.
                yield "TemporaryFileSystem=/root:ro,mode=0755"
            yield from shown
            if gpus_of(settings) > 1:
                # PyTorch shares memory between the processes of several GPUs with it.
                yield "SystemCallFilter=pidfd_getfd"
            if gpus_of(settings) > 1 or settings.cluster is not None or moves_kv(settings):
                yield from _BETWEEN_GPUS
            if loopback_only:
                yield "IPAddressDeny=any"
                yield " ".join(("IPAddressAllow=localhost", *settings.outgoing_addresses))
        case _ as never:
            assert_never(never)


def opens(settings: Settings, path: str) -> bool:
    """Tell whether the unit shows `path` apart, so that no directory above it needs to be open."""
    match settings.sandbox:
        case Sandbox.OFF:
            return False
        case Sandbox.BASIC:
            return _below(path, _HIDDEN_TEMPORARY)
        case Sandbox.STRICT:
            return _below(path, _MOUNTED_OVER)
        case _ as never:
            assert_never(never)


def _below(path: str, directories: tuple[str, ...]) -> bool:
    return any(path.startswith(f"{directory}/") for directory in directories)


def _written(settings: Settings, hidden: tuple[str, ...]) -> Iterator[str]:
    """Open the directories that the operator named; what is hidden is shown again."""
    for path in settings.writable_directories:
        directive = "BindPaths" if _below(path, hidden) else "ReadWritePaths"
        # One that is not there is vLLM's to report, better than systemd's 226/NAMESPACE.
        yield f"{directive}={path_in_list(f'-{path}')}"


def _own_hub_cache(settings: Settings) -> Iterator[str]:
    """Open the operator's own place for downloads, which lies outside our state directory."""
    if (path := settings.environment.get("HF_HOME", "")).startswith("/"):
        directive = "BindPaths" if _below(path, _MOUNTED_OVER) else "ReadWritePaths"
        yield f"{directive}={path_in_list(f'-{path}')}"


def _shown(
    settings: Settings, read_paths: tuple[str, ...], hidden: tuple[str, ...]
) -> Iterator[str]:
    own = (settings.model, settings.tokenizer, settings.chat_template)
    asked = (*own, *read_only(settings), *read_paths)
    for path in dict.fromkeys(path for path in asked if path is not None):
        if _below(path, hidden):
            # A path that is not there is vLLM's to report, better than systemd's 226/NAMESPACE.
            yield f"BindReadOnlyPaths={path_in_list(f'-{path}')}"
