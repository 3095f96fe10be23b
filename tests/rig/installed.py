# SPDX-License-Identifier: Apache-2.0
"""The installed agent as tests use it: configure it, ask it, wait for what it does."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from agent.cli.status import read
from agent.errors import DaemonAwayError
from tests.rig import paths, scripted
from tests.rig.container import Container
from tests.rig.lan import INTERFACE

CONFIG = "/etc/llmagent/agent.toml"
QUICK = """\
poll_seconds = 0.5
settle_seconds = 20
hang_seconds = 4
canary_seconds = 2
canary_every_seconds = 10
backoff_min_seconds = 0.5
backoff_max_seconds = 2
max_starts_per_hour = 100
"""
"""Recovery limits under which a test does not wait for minutes."""

OURS: dict[str, Any] = {"gpu_memory_utilization": 0.9, "max_model_len": 4096}
"""Settings that the scripted engine's card of 24 GiB holds."""

BEGIN_ANEW = f"""
systemctl stop llmagent
for unit in $(find /etc/llmagent/units -name '*.service'); do
    systemctl disable --now "$(basename "$unit")" || true
    rm -f "$unit"
done
find /var/lib/llmagent -mindepth 1 -delete
find /var/lib/vllm -name {scripted.STARTS} -delete
rm -rf /run/scripted-engine
systemctl daemon-reload
: > {CONFIG}
systemctl start llmagent
"""


@cache
def deb() -> Path:
    """Returns the package of this tree, which one process of a test run builds for all.

    It is kept under the hash of what it is made from: the same tree gives the same bytes
    (tests/container/test_package.py).
    """
    kept = paths.REPO / "build" / f"package-{_sources_hash()}"
    kept.mkdir(parents=True, exist_ok=True)
    with (kept / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not list(kept.glob("*.deb")):
            build = [str(paths.REPO / "packaging/build-deb"), "--output", str(kept)]
            subprocess.run(build, check=True, capture_output=True)
    (built,) = kept.glob("*.deb")
    return built


def _sources_hash() -> str:
    """Returns a hash of what packaging/build-deb takes: names, modes and bytes."""
    found = hashlib.sha256()
    for top in ("agent", "etc", "units", "packaging", "README.md"):
        place = paths.REPO / top
        for file in sorted([place, *place.rglob("*")]):
            if file.is_file() and "__pycache__" not in file.parts:
                name = f"{file.relative_to(paths.REPO)} {os.access(file, os.X_OK)}"
                found.update(f"{name} {file.stat().st_size}\n".encode() + file.read_bytes())
    return found.hexdigest()[:12]


def service_table(name: str = "vllm", port: int = 8000, recovery: str = "", **settings: Any) -> str:
    """Returns a [service.NAME] of the scripted engine with quick recovery limits."""
    values = {"model": "/srv/llama", "python": scripted.PYTHON, "port": port, **settings}
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join([f"[service.{name}]", *lines, f"[service.{name}.recovery]", QUICK + recovery])


def two_host_tables(kind: str, rank: int, addresses: Sequence[str]) -> str:
    """Returns where vLLM and the agent of one of two hosts meet the other's.

    kind: "split", one model over both (--nnodes); "ray", the same over Ray; "replicas", one on each
    behind the head (data parallel); "hybrid", two on each, and each host takes requests for its
    own; "external", one on each, each with its own address.
    """
    head, here, peer = addresses[0], addresses[rank], addresses[1 - rank]
    if kind in ("split", "ray"):
        place = f'nnodes = 2\nnode_rank = {rank}\nmaster_addr = "{head}"'
        place += "\nray_port = 6379" if kind == "ray" else ""
    elif kind == "hybrid":
        place = f'data_parallel_address = "{head}"\ndata_parallel_hybrid_lb = true'
        place += f"\ndata_parallel_size_local = 2\ndata_parallel_start_rank = {2 * rank}"
    elif kind == "external":
        place = f'data_parallel_address = "{head}"\ndata_parallel_rank = {rank}'
    else:
        place = f'data_parallel_address = "{head}"\ndata_parallel_size_local = 1'
        place += f"\ndata_parallel_start_rank = {rank}" if rank else ""
    return f"""
[service.vllm.cluster]
{place}
host_ip = "{here}"
interface = "{INTERFACE}"
peers = ["{peer}"]

[metrics]
listen = "{here}:9836"
"""


class Agent:
    """The package in a machine; what it says is read as an operator reads it."""

    def __init__(self, box: Container) -> None:
        self.box = box

    def install(self) -> None:
        """Installs with apt and makes a model folder that the scripted engine never reads."""
        self.box.install(deb())
        self.give_a_model()

    def give_a_model(self) -> None:
        """Makes the model folder alone, for a package that came another way."""
        self.box.run(["mkdir", "-p", "/srv/llama"])
        self.box.write("/srv/llama/config.json", "{}")
        self.box.write("/srv/llama/tokenizer.json", "{}")
        # eight bytes of header length, an empty header, no tensors
        self.box.write("/srv/llama/model.safetensors", "\x02" + 7 * "\0" + "{}")

    def configure(self, *tables: str) -> None:
        """Writes agent.toml and has it read."""
        self.box.write(CONFIG, "\n".join(tables))
        self.box.run(["systemctl", "reload-or-restart", "llmagent"])

    def begin_anew(self) -> None:
        """Forgets all services and all that was learned, as after a purge and a new install."""
        self.box.run(["bash", "-c", BEGIN_ANEW])

    def status(self, service: str = "vllm") -> dict[str, Any]:
        """Returns the service's part of status.json, {} when there is none or no daemon.

        The file, from outside: to run the command again and again takes half a core.
        """
        try:
            document = read(Path(f"/proc/{self.box.leader}/root/run/llmagent/status.json"))
        except DaemonAwayError:
            return {}
        found: dict[str, Any] = document["services"].get(service, {})
        return found

    def printed(self, service: str = "vllm") -> dict[str, Any]:
        """Returns the same as `llmagent status --format json` prints it."""
        said = self.box.run(["llmagent", "status", "--format", "json"], check=False).stdout
        found: dict[str, Any] = json.loads(said)["services"].get(service, {}) if said else {}
        return found

    def wait(self, phase: str, service: str = "vllm", seconds: float = 40) -> dict[str, Any]:
        """Waits for a phase and returns what the command says then."""

        def reached() -> dict[str, Any] | None:
            if self.status(service).get("phase") != phase:
                return None
            said = self.printed(service)
            return said if said.get("phase") == phase else None

        found = self.box.wait_for(reached, seconds, f"{service} to be {phase}")
        assert found is not None
        return found

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Returns the history, oldest first."""
        said = self.box.run(["llmagent", "events", "--format", "json"]).stdout
        events = [json.loads(line) for line in said.splitlines()]
        return [event for event in events if kind in (None, event["kind"])]

    def metrics(self) -> str:
        """Returns a scrape."""
        return self.box.http_get(9836, "/metrics").body

    def pid(self, unit: str) -> int:
        """Returns the main process of a unit, 0 for none."""
        return int(self.box.show(unit, "MainPID")["MainPID"])
