# SPDX-License-Identifier: Apache-2.0
"""Models of the hub: the real huggingface_hub fetches from a hub of ours, then an engine serves."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from subprocess import Popen
from typing import Any

import pytest

from tests.conftest import Boot
from tests.rig import binds, paths, scripted
from tests.rig.container import Container
from tests.rig.hub import MODEL
from tests.rig.installed import Agent, service_table

PORT = 9999
PYTHON = "/opt/hub-venv/bin/python"
SHARD = "model-00001-of-00002.safetensors"
HOME = "/var/lib/vllm/huggingface"
SIZE = 30 << 20
OURS: dict[str, Any] = {
    "model": MODEL,
    "python": PYTHON,
    "gpu_memory_utilization": 0.9,
    "max_model_len": 4096,
}
WRAPPER = f"""#!/bin/sh
case "$2" in
    vllm.*) exec {scripted.PYTHON} "$@" ;;
    *) exec /opt/vllm/bin/python "$@" ;;
esac
"""


class Machine:
    """A Debian with the agent, an environment that fetches for real, and a hub to be cued."""

    def __init__(self, box: Container) -> None:
        self.box = box
        self.agent = Agent(box)
        self.agent.install()
        box.write(PYTHON, WRAPPER, mode=0o755)
        box.write("/opt/hub-venv/pyvenv.cfg", "home = /usr/bin\n")
        packages = "lib/python3.11/site-packages"
        box.run(["mkdir", "-p", "/opt/hub-venv/lib/python3.11"])
        box.run(["ln", "-s", f"/opt/scripted-engine/venv/{packages}", f"/opt/hub-venv/{packages}"])
        self._hub: Popen[str] | None = None

    def hub_comes(self, **fault: object) -> None:
        if self._hub is None:
            argv = ["env", "-C", str(paths.REPO), sys.executable, "-m", "tests.rig.hub", str(PORT)]
            self._hub = self.box.popen_on_host(argv)
        self.box.wait_for(
            lambda: self.box.http_post(PORT, "/_hub", fault).status == 200, 10, "the hub"
        )

    def hub_goes(self) -> None:
        if self._hub is not None:
            self._hub.kill()
            self._hub.communicate()
            self._hub = None

    def sent(self) -> dict[str, int]:
        found: dict[str, dict[str, int]] = json.loads(self.box.http_get(PORT, "/_hub").body)
        return found["sent"]

    def configure(self, recovery: str = "", **environment: str) -> None:
        environment = {"HF_ENDPOINT": f"http://127.0.0.1:{PORT}"} | environment
        table = service_table(recovery=recovery, **OURS)
        words = ", ".join(f'{name} = "{value}"' for name, value in environment.items())
        head = "[service.vllm]\n"
        self.agent.configure(table.replace(head, f"{head}environment = {{ {words} }}\n"))


@pytest.fixture(scope="module")
def one_machine(boot_for_module: Boot) -> Iterator[Machine]:
    """Boots the machine, for all tests of this module."""
    box = boot_for_module("bookworm", binds=[binds.scripted_engine(), binds.vllm()])
    made = Machine(box)
    yield made
    made.hub_goes()


@pytest.fixture
def machine(one_machine: Machine) -> Machine:
    """Returns the machine with no model, nothing configured and a hub that works."""
    one_machine.agent.begin_anew()
    one_machine.box.run(["rm", "-rf", HOME])
    one_machine.hub_goes()
    one_machine.hub_comes()
    scripted.set_scenario(one_machine.box, {})
    return one_machine


def test_a_fetch_shows_its_progress_goes_on_where_it_broke_off_and_then_serves(
    machine: Machine,
) -> None:
    machine.hub_comes(bytes_per_second=4 << 20)
    machine.configure()

    def half() -> dict[str, Any] | None:
        # The file: the command takes longer than the seconds that this lasts on a busy machine.
        shown = machine.box.run(["cat", "/run/llmagent/status.json"], check=False).stdout
        status: dict[str, Any] = json.loads(shown)["services"].get("vllm", {}) if shown else {}
        fetch = status.get("fetch")
        return status if fetch and fetch["done_bytes"] >= SIZE * 0.7 else None

    status = machine.box.wait_for(half, 30, "more than half of it to be fetched")
    assert status is not None
    assert status["phase"] == "fetching"
    assert f"fetch {MODEL}" in status["reason"]
    assert "MiB/s" in status["progress"]["detail"]
    size = re.search(r'fetch_size_bytes\{service="vllm"\} (\S+)', machine.agent.metrics())
    assert size is not None
    assert float(size[1]) == 2 * SIZE
    machine.box.run(["systemctl", "kill", "-s", "KILL", "vllm-fetch"])
    machine.hub_comes()
    machine.agent.wait("serving")
    for name in (SHARD, SHARD.replace("00001-of", "00002-of")):
        # huggingface_hub writes 10 MiB at a time; what it had not written comes twice.
        assert SIZE <= machine.sent()[name] < SIZE + (11 << 20)
    assert "HF_HUB_OFFLINE=1" in machine.box.run(["systemctl", "cat", "vllm"]).stdout
    owner = machine.box.run(["stat", "-c", "%U", f"{HOME}/hub"]).stdout.strip()
    assert owner == "vllm"

    machine.hub_goes()
    before = machine.agent.pid("vllm")
    scripted.cue(machine.box, "engine-dead")
    machine.box.wait_for(lambda: machine.agent.pid("vllm") not in (0, before), 20, "a new process")
    assert machine.agent.wait("serving")["restarts"] == {"engine-dead": 1}


def test_a_hub_that_is_away_is_waited_for_and_a_stalled_one_is_asked_anew(
    machine: Machine,
) -> None:
    machine.hub_goes()
    # The library alone takes seconds to be there on a machine that has other work.
    machine.configure("download_stall_seconds = 8\n", HF_HUB_DOWNLOAD_TIMEOUT="600")
    machine.box.wait_for(
        lambda: len(machine.agent.events("failure")) >= 2, 30, "two fetches to fail"
    )
    assert machine.agent.status()["failure"]["class"] == "hub-unreachable"
    assert machine.agent.status()["phase"] in ("waiting", "fetching")
    machine.hub_comes(stall_after=15 << 20)
    machine.box.wait_for(
        lambda: "not a byte has come" in machine.agent.events("failure")[-1]["message"],
        40,
        "the stall to be seen",
    )
    machine.hub_comes()
    assert machine.agent.wait("serving")["restarts"] == {}


def test_a_gated_model_is_held_with_its_page_and_tried_again_after_a_reload(
    machine: Machine,
) -> None:
    machine.hub_comes(refuse="gated")
    machine.configure()
    held = machine.agent.wait("held")
    assert held["failure"]["class"] == "gated-repo"
    assert f"http://127.0.0.1:{PORT}/{MODEL}" in held["held"]["what_to_do"]
    machine.hub_comes()
    machine.box.run(["systemctl", "reload", "llmagent"])
    machine.agent.wait("serving")


def test_a_full_disk_is_held_with_the_numbers_until_there_is_room(machine: Machine) -> None:
    box = machine.box
    box.run(["mkdir", "-p", "/srv/hf"])
    box.run(["mount", "-t", "tmpfs", "-o", "size=1060M,mode=0777", "hf", "/srv/hf"])
    machine.configure(HF_HOME="/srv/hf")
    held = machine.agent.wait("held")
    assert held["failure"]["class"] == "disk-full"
    assert "needs 0.1 GiB and 1.0 GiB to spare, 1.0 GiB are free in /srv/hf/hub" in held["reason"]
    assert machine.sent().get(SHARD) is None
    box.run(["mount", "-o", "remount,size=1200M", "/srv/hf"])
    machine.agent.wait("serving", seconds=60)
