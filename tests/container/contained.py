# SPDX-License-Identifier: Apache-2.0
"""What holds of an engine in a container, whichever client runs it: its table, and the checks."""

from __future__ import annotations

import json
from typing import Any, Final

from tests.rig import scripted
from tests.rig.container import Container
from tests.rig.installed import QUICK, Agent

TOKEN: Final = "hf_MustNotBeSeenAnywhere"
TOKEN_FILE: Final = "/etc/llmagent/hf_token"
ASKED_LIMITS: Final = "/run/asked-limits.json"
"""Where the runtime of a test leaves the limits that it was asked for."""

AGENTS_RIGHTS: Final = ("ProtectSystem=strict", "CapabilityBoundingSet=CAP_DAC_READ_SEARCH")


def service_in(runtime: str, image: str) -> str:
    """Returns [service.vllm] of the scripted engine in an image, with quick recovery limits."""
    return f"""
[service.vllm]
model = "/srv/llama"
hf_token_file = "{TOKEN_FILE}"
environment = {{ ODD = "100% $HOME \\"x\\" 'y'" }}
[service.vllm.engine]
runtime = "{runtime}"
image = "{image}"
gpu_access = "none"
entrypoint = ["{scripted.PYTHON}"]
[service.vllm.recovery]
{QUICK}
"""


def inspected(box: Container, runtime: str) -> dict[str, Any]:
    """Returns what the client says of the service's container."""
    found: dict[str, Any] = json.loads(box.run([runtime, "inspect", "vllm"]).stdout)[0]
    return found


def assert_systemd_has_nothing_to_object_to(box: Container) -> None:
    unit = "/etc/llmagent/units/vllm.service"
    said = box.run(["systemd-analyze", "verify", "--man=no", unit], check=False)
    assert (said.returncode, said.stdout + said.stderr) == (0, "")


def assert_verified(box: Container) -> None:
    said = box.run(["llmagent", "verify", "--format", "json"], check=False)
    assert said.returncode == 0, said.stdout


def assert_asked_for(box: Container, seen: dict[str, Any]) -> None:
    """The label, the variable, the mounts and the limits are those of `service_in`."""
    assert seen["Config"]["Labels"]["llmagent.service"] == "vllm"
    assert """ODD=100% $HOME "x" 'y'""" in seen["Config"]["Env"]
    mounts = {mount["Destination"]: mount["RW"] for mount in seen["Mounts"]}
    assert mounts["/srv/llama"] is False
    assert mounts["/var/lib/vllm-containers"] is True
    limits = {limit["type"]: limit["soft"] for limit in json.loads(box.read(ASKED_LIMITS))}
    assert limits["RLIMIT_MEMLOCK"] == 2**64 - 1
    assert limits["RLIMIT_STACK"] == 67108864


def assert_has_a_users_rights(box: Container, pid: int) -> None:
    """The process has the ids of the service's user, no capability and no way to any."""
    lines = (line.partition(":") for line in box.read(f"/proc/{pid}/status").splitlines())
    status = {name: value.split() for name, _, value in lines}
    ids = [box.run(["id", option, "vllm"]).stdout.strip() for option in ("-u", "-g")]
    assert [set(status["Uid"]), set(status["Gid"])] == [{ids[0]}, {ids[1]}]
    held = {name: int(status[name][0], 16) for name in status if name.startswith("Cap")}
    assert set(held.values()) == {0}, held
    assert status["NoNewPrivs"] == ["1"]


def assert_basic_and_back(agent: Agent, service: str) -> None:
    """Under `basic` the engine is root; what it leaves is the user's again under `strict`.

    `service` is the table of the service under `strict`.
    """
    box = agent.box
    table, rest = service.split("[service.vllm.engine]")
    agent.configure(f'{table}sandbox = "basic"\n[service.vllm.engine]{rest}')
    box.wait_for(lambda: _user_of_the_engine(box) == "root", 40, "root's uid")
    agent.wait("serving")
    left = "/var/cache/vllm-containers/vllm/left/by-root"
    box.run(["install", "-D", "-m", "0600", "/dev/null", left])
    assert owner(box, "/var/cache/vllm-containers/vllm") == "vllm"
    agent.configure(service)
    box.wait_for(lambda: _user_of_the_engine(box) == "vllm", 40, "a user's uid")
    agent.wait("serving")
    assert owner(box, left) == "vllm"
    assert owner(box, "/var/lib/vllm-containers") == "vllm"
    # Root believes the id in it.
    assert owner(box, "/run/llmagent-containers/vllm") == "root"


def _user_of_the_engine(box: Container) -> str:
    listed = box.run(["ps", "-C", "VLLM::EngineCor", "-o", "user="], check=False).stdout.split()
    return listed[0] if listed else ""


def owner(box: Container, path: str) -> str:
    return box.run(["stat", "--format=%U", path]).stdout.strip()


def assert_the_token_reaches_it_and_shows_nowhere(box: Container, seen: dict[str, Any]) -> None:
    inside = f"/proc/{seen['State']['Pid']}/root"
    credential = "/run/credentials/vllm.service/hf_token"
    assert box.read(f"{inside}{credential}") == f"{TOKEN}\n"
    as_the_engine = ["setpriv", "--reuid=vllm", "--regid=vllm", "--clear-groups"]
    assert box.run([*as_the_engine, "cat", credential]).stdout == f"{TOKEN}\n"
    assert TOKEN not in json.dumps(seen)
    assert TOKEN not in box.run(["bash", "-c", "cat /proc/[0-9]*/cmdline"], check=False).stdout


def assert_the_doctor_is_content(box: Container) -> dict[str, str]:
    """With the agent's own rights it finds runtime and image well. Returns all its results."""
    rights = [f"--property={one}" for one in AGENTS_RIGHTS]
    argv = ["systemd-run", "--quiet", "--pipe", "--wait", *rights]
    said = box.run([*argv, "llmagent", "doctor", "--format", "json"], check=False).stdout
    results = {found["check"]: found["result"] for found in json.loads(said)["findings"]}
    assert results["container-runtime"] == results["container-image"] == "ok", said
    return results


def assert_stops(agent: Agent) -> None:
    """Stops the service; what its unit keeps of the container while it runs is gone with it."""
    agent.box.run(["systemctl", "stop", "vllm"])
    assert agent.wait("stopped")
    assert not agent.box.exists("/run/llmagent-containers/vllm")
