# SPDX-License-Identifier: Apache-2.0
"""What a service's vLLM finds around it: its directories, its environment, its address."""

from __future__ import annotations

from collections.abc import Mapping

from agent.core.command.start_method import start_method_environment
from agent.core.settings.cluster import ClusterSettings
from agent.core.settings.service import Sandbox, Settings
from agent.core.unit.openings import gpus_of, reaches_out
from agent.core.unit.quiet import quiet_environment

SYSTEM_PATH = "/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def state_directory(settings: Settings) -> str:
    """Return the directory under /var/lib for models, one for all services of one user.

    systemd changes the owner of the whole tree to the unit's user, so users cannot share one, nor
    can containers, whose units are root's.
    """
    if settings.engine.in_container:
        return "vllm-containers"
    return "vllm" if settings.user == "vllm" else f"vllm-{settings.user}"


def cache_directory(settings: Settings) -> str:
    """Return the directory under /var/cache for what this service compiles."""
    return f"{state_directory(settings)}/{settings.name}"


def loopback_only(settings: Settings) -> bool:
    """Tell whether the service needs no other address: nothing to fetch, nobody to serve.

    Where something asked for lies elsewhere (a collector of traces, a peer's KV cache), only
    `outgoing_addresses` keep the rest closed. More than one GPU process may talk over the host's
    own address, so that is left open, and so is a host whose engine talks to other hosts', at ports
    that nobody knows before.
    """
    if settings.cluster is not None:
        return False
    local = settings.model.startswith("/") and (settings.tokenizer or "/").startswith("/")
    loopback = settings.host in ("127.0.0.1", "localhost", "::1")
    listens_here = loopback or settings.uds is not None
    if not (local and listens_here and gpus_of(settings) == 1):
        return False
    return bool(settings.outgoing_addresses) or not reaches_out(settings)


def environment_of(settings: Settings) -> Mapping[str, str]:
    """Return the environment of the service: ours first, then what the operator asked for."""
    state = f"/var/lib/{state_directory(settings)}"
    cache = f"/var/cache/{cache_directory(settings)}"
    ours = {
        "PATH": f"{settings.python.rpartition('/')[0]}:{SYSTEM_PATH}",
        "HOME": state,
        "HF_HOME": f"{state}/huggingface",
        "XDG_CACHE_HOME": cache,
        "XDG_CONFIG_HOME": f"{cache}/config",
        "VLLM_CACHE_ROOT": f"{cache}/vllm",
        "TRITON_CACHE_DIR": f"{cache}/triton",
        "TORCHINDUCTOR_CACHE_DIR": f"{cache}/inductor",
        "FLASHINFER_WORKSPACE_BASE": cache,
        "CUDA_CACHE_PATH": f"{cache}/nv",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "NO_COLOR": "1",
        **quiet_environment(settings),
        **start_method_environment(settings),
    }
    if settings.gpus != ("all",):
        ours["CUDA_VISIBLE_DEVICES"] = ",".join(settings.gpus)
    if settings.cluster is not None:
        ours |= cluster_environment(settings.cluster)
    elif gpus_of(settings) == 1:
        # PyTorch would ask the name servers for our own name: 120 s if none answers (RUN 0.32).
        ours["GLOO_SOCKET_IFNAME"] = "lo"
    confined = settings.sandbox is Sandbox.STRICT and not settings.engine.in_container
    if confined and loopback_only(settings):
        # vLLM would talk to itself over the address of the default route, which is closed to it.
        ours["VLLM_HOST_IP"] = "127.0.0.1"
    return ours | dict(settings.environment)


def cluster_environment(cluster: ClusterSettings) -> Mapping[str, str]:
    """Return what tells the engine at which address and interface it meets those of other hosts."""
    names = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME") if cluster.interface is not None else ()
    found = {"VLLM_HOST_IP": cluster.host_ip} | {name: str(cluster.interface) for name in names}
    return found if cluster.ray_port is None else {**found, **ray_environment(cluster)}


def ray_environment(cluster: ClusterSettings) -> Mapping[str, str]:
    """Return where vLLM finds Ray's head, and that Ray sends nobody figures of its use."""
    # Ray's own names: "Configuring Ray", "Usage Stats Collection" in its manual (2.x).
    return {
        "RAY_ADDRESS": f"{cluster.meeting_address}:{cluster.ray_port}",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def probe_address(settings: Settings) -> str:
    """Return the address at which the service can be reached from its own host."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104


def listens(settings: Settings) -> str:
    """Return the condition in bash that vLLM listens: it does so only once it serves."""
    if settings.uds is not None:
        return f"[ -S {settings.uds} ]"
    return f"(: <>/dev/tcp/{probe_address(settings)}/{settings.port}) 2>/dev/null"


def socket_directory(uds: str) -> str:
    """Return the directory below /run that the unit makes for a socket, "vllm" of /run/vllm/s."""
    return uds.removeprefix("/run/").rpartition("/")[0]
