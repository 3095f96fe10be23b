# SPDX-License-Identifier: Apache-2.0
"""What the installed agent does before a kill and before a start, on real systemd."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import Boot
from tests.rig import binds, scripted
from tests.rig.container import Container
from tests.rig.installed import OURS, Agent, service_table

DROP_IN = "/etc/systemd/system/vllm.service.d/leave.conf"


@pytest.fixture(scope="module")
def machine(boot_for_module: Boot) -> Agent:
    """Returns a Debian 12 with the package and py-spy installed."""
    agent = Agent(boot_for_module("bookworm", binds=[binds.scripted_engine()]))
    agent.install()
    py_spy = shutil.which("py-spy", path=str(Path(sys.executable).parent))
    assert py_spy is not None, "py-spy is one of the test tools: make setup"
    agent.box.put(Path(py_spy), "/usr/local/bin/py-spy")
    return agent


def test_the_stacks_of_a_hung_engine_are_taken_before_it_is_killed(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {}, {})
    agent.configure(service_table(**OURS))
    before = agent.wait("serving")["main_pid"]
    scripted.cue(agent.box, "busy")  # with work in flight a hang is seen in seconds
    scripted.cue(agent.box, "hang")
    agent.box.wait_for(lambda: agent.pid("vllm") not in (0, before), 40, "a new process")
    (taken,) = agent.events("evidence")
    seen = {process["name"]: process for process in taken["data"]["processes"]}
    assert before in {process["pid"] for process in seen.values()}
    assert any(name.startswith("VLLM::Engine") for name in seen)
    assert all("MainThread" in process["stack"] for process in seen.values()), taken
    assert taken["data"]["lines"], "the last words of its log"
    agent.wait("serving")
    shown = agent.box.run(["llmagent", "events", "--all"]).stdout
    assert f"Python stacks of {len(seen)} of {len(seen)} processes" in shown


def sleeper(box: Container, seconds: int, unit: str = "") -> int:
    """Starts a process that belongs to nobody, or to the control group of a unit."""
    box.run(["systemd-run", "--quiet", f"--unit=sleeper{seconds}", "sleep", str(seconds)])
    pid = int(box.show(f"sleeper{seconds}", "MainPID")["MainPID"])
    if unit:
        groups = box.show(unit, "ControlGroup")["ControlGroup"]
        found = box.run(["find", "/sys/fs/cgroup", "-path", f"*{groups}/cgroup.procs"]).stdout
        for file in found.split():
            box.run(["tee", file], input=str(pid))
    return pid


def alive(box: Container, pid: int) -> bool:
    return box.exists(f"/proc/{pid}/exe")


def test_what_is_left_in_the_units_control_group_is_killed_and_nothing_else(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {}, {})
    agent.box.write(DROP_IN, "[Service]\nKillMode=process\n")
    agent.configure(service_table(**OURS))
    before = agent.wait("serving")["main_pid"]
    stranger, left = sleeper(agent.box, 1001), sleeper(agent.box, 1002, "vllm.service")
    agent.box.run(["systemctl", "kill", "--kill-whom=main", "-s", "KILL", "vllm"])
    agent.box.wait_for(lambda: agent.pid("vllm") not in (0, before), 20, "a new process")
    (reaped,) = agent.events("reap")
    assert left in reaped["data"]["pids"]
    assert not alive(agent.box, left)
    assert alive(agent.box, stranger)
    agent.wait("serving")
    agent.box.run(["rm", DROP_IN])


def test_a_stranger_on_the_port_is_named(agent: Agent) -> None:
    listen = ["python3", "-m", "http.server", "--bind", "127.0.0.1", "8000"]
    agent.box.run(["systemd-run", "--quiet", "--unit=squatter", *listen])
    agent.box.wait_for(lambda: agent.box.http_get(8000, "/").status, 10, "the squatter")
    scripted.set_scenario(agent.box, {})
    agent.configure(service_table(**OURS))
    named = agent.box.wait_for(lambda: agent.events("port"), 20, "the squatter's name")
    pid = agent.pid("squatter.service")
    said = f"process {pid} (python3) of squatter.service listens on port 8000"
    assert named is not None
    assert said in named[0]["message"]
    agent.box.run(["systemctl", "stop", "squatter"])
    agent.wait("serving")


def test_a_start_that_stalls_and_swallows_sigterm_is_killed_and_tried_again(agent: Agent) -> None:
    stalls = {"stall_at": "load", "sigterm_during_start": "ignore"}
    scripted.set_scenario(agent.box, stalls, {})
    agent.configure(service_table(**OURS, recovery="load_stall_seconds = 2\n"))
    status = agent.wait("serving")
    assert status["restarts"] == {"start-stalled": 1}
    (killed,) = agent.events("kill")
    assert "while loading" in killed["message"]
    assert agent.events("evidence")[0]["data"]["processes"]


PRUNE = """
import sys, time
sys.path.insert(0, "/usr/lib/llmagent")
from agent.core.settings.service import Settings
from agent.core.state.host import HostState
from agent.core.state.phases import Phase
from agent.core.state.service import ServiceState
from agent.tasks.upkeep.prune import prune

s = ServiceState("vllm", Phase.SERVING, running=Settings("vllm", "/srv/llama"), settled=True,
                 started_at=time.time() - 3600)
print(*prune(HostState(services={"vllm": s}), budget_bytes=0))
"""
LEFT = """
cd /var/cache/vllm/vllm/vllm/torch_compile_cache
mkdir -p 0a1b2c3d4e/rank_0_0 ffeeddccbb/rank_0_0 keep
for at in 0a1b2c3d4e ffeeddccbb keep; do head -c 1M /dev/zero >$at/rank_0_0.bin; done
touch --date="10 days ago" 0a1b2c3d4e/rank_0_0.bin keep/rank_0_0.bin
chown -R vllm: .
"""


def test_compiled_code_that_the_last_start_did_not_use_is_removed_as_its_owner(
    agent: Agent,
) -> None:
    where = "/var/cache/vllm/vllm/vllm/torch_compile_cache"
    agent.box.run(["mkdir", "-p", where])
    agent.box.run(["bash", "-ec", LEFT])
    said = agent.box.run(["python3", "-c", PRUNE]).stdout
    assert "service='vllm', directories=1, size_bytes=1048576" in said
    assert agent.box.run(["ls", where]).stdout.split() == ["ffeeddccbb", "keep"]
