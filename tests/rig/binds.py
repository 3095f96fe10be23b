# SPDX-License-Identifier: Apache-2.0
"""What of this machine a container is shown, and where; all of it read-only."""

from __future__ import annotations

from tests.rig import nvsim, paths
from tests.rig.container import Bind, Suite


def agent_code() -> Bind:
    """Returns the agent as the package would install it; not beside an installed package."""
    return Bind(paths.REPO / "agent", "/usr/lib/llmagent/agent")


def vllm() -> Bind:
    """Returns the environment of real vLLM; its python is /opt/vllm/bin/python."""
    return Bind(paths.part("vllm"), "/opt/vllm")


def vllm_033() -> Bind:
    """Returns vLLM 0.33's Python, to be bound beside `vllm`; its python is in /opt/vllm-033/bin."""
    return Bind(paths.part("vllm-033"), "/opt/vllm-033")


def models() -> Bind:
    """Returns /srv/models with tiny-llama (BF16) and tiny-llama-awq."""
    return Bind(paths.part("models"), "/srv/models")


def kinds() -> Bind:
    """Returns /srv/kinds: a model of each kind with two seeds, and `audio` for PYTHONPATH."""
    return Bind(paths.part("kinds"), "/srv/kinds")


def scripted_engine() -> Bind:
    """Returns the scripted engine; its python is tests.rig.scripted.PYTHON."""
    return Bind(paths.RIG / "scripted_engine", "/opt/scripted-engine")


def ray() -> Bind:
    """Returns Ray, to be laid above `vllm` as /opt/vllm-ray."""
    return Bind(paths.part("ray"), "/opt/ray")


def peers() -> Bind:
    """Returns nvitop-exporter, for python3 with PYTHONPATH=/opt/peers."""
    return Bind(paths.part("peers"), "/opt/peers")


def simulated_gpus() -> Bind:
    """Returns what tests.rig.nvsim.MachineGpus needs; by itself it installs no driver."""
    return Bind(nvsim.part(), "/opt/nvsim")


def podman(suite: Suite = "bookworm") -> Bind:
    """Returns podman's packages for a Debian, to be installed with dpkg."""
    return Bind(paths.part("podman" if suite == "bookworm" else "podman-trixie"), "/srv/podman")


def docker(suite: Suite = "bookworm") -> Bind:
    """Returns docker's packages for a Debian, to be installed with dpkg."""
    return Bind(paths.part("docker" if suite == "bookworm" else "docker-trixie"), "/srv/docker")
