# SPDX-License-Identifier: Apache-2.0
"""vLLM in a container of podman: the rendered unit under real systemd, with the agent in charge.

What hangs on podman's release is told by 5.4 of Debian 13 as well as by 4.3 of Debian 12, or by 5.4
alone where 4.3 has it from the stories before; the rest by 4.3.

The image is made from the machine's own tree, with the scripted engine in it. podman, conmon and
crun are Debian's; what the test machine's kernel refuses to containers within containers (limits
above its own, device filters, controllers of version 1's hierarchies) is taken out between podman
and crun, and noted.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Boot
from tests.container import contained
from tests.container.contained import ASKED_LIMITS
from tests.rig import binds, images, paths, scripted
from tests.rig.container import Container, Suite
from tests.rig.hub import MODEL
from tests.rig.installed import QUICK, Agent

IMAGE = "localhost/vllm-openai:v0.32.0"
THEIRS = "localhost/theirs/vllm-openai:v0.32.0"
RUNTIME = f"""#!/usr/bin/python3
import json, os, pathlib, sys
if "create" in sys.argv:
    at = next(n for n, word in enumerate(sys.argv) if word in ("--bundle", "-b"))
    file = pathlib.Path(sys.argv[at + 1]) / "config.json"
    config = json.loads(file.read_text())
    pathlib.Path("{ASKED_LIMITS}").write_text(json.dumps(config["process"].pop("rlimits", [])))
    config["linux"]["resources"] = {{}}
    file.write_text(json.dumps(config))
os.execv("/usr/bin/crun", ["crun", *sys.argv[1:]])
"""
CONFIGURATION = {
    "/etc/containers/storage.conf": """[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
""",
    "/etc/containers/containers.conf": """[containers]
keyring = false
[engine]
runtime = "here"
[engine.runtimes]
here = ["/usr/local/bin/here"]
""",
}
BOTH = "/opt/both/python"
WRAPPER = f"""#!/usr/bin/bash
case "$2" in
    vllm.*) exec {scripted.PYTHON} "$@" ;;
    *) exec /opt/vllm/bin/python "$@" ;;
esac
"""
"""The scripted engine, and a real huggingface_hub; the image sees that as a mount."""

MAKE_IMAGE = images.install_script("/srv/podman") + images.import_script(
    f"podman import --quiet - {IMAGE}", "opt/both"
)
HUB_PORT = 9999
FROM_HUB = f"""
[service.vllm]
model = "{MODEL}"
environment = {{ HF_ENDPOINT = "http://127.0.0.1:{HUB_PORT}" }}
[service.vllm.engine]
runtime = "podman"
image = "{IMAGE}"
gpu_access = "none"
entrypoint = ["{BOTH}"]
mounts = ["/opt/vllm"]
[service.vllm.recovery]
{QUICK}
"""
UNIT = "/etc/llmagent/units/vllm.service"
SERVICE = contained.service_in("podman", IMAGE)


both = pytest.mark.parametrize("agent", ["trixie", "bookworm"], indirect=True)
# The first of both is the newer's: tests of a parameter's place are run together, on one machine.
newer = pytest.mark.parametrize("agent", ["trixie"], indirect=True)
older = pytest.mark.parametrize("agent", ["bookworm"], indirect=True)


@pytest.fixture(scope="module")
def agent(boot_for_module: Boot, request: pytest.FixtureRequest) -> Agent:
    suite: Suite = request.param
    parts = [binds.podman(suite), binds.scripted_engine(), binds.vllm()]
    box = boot_for_module(suite, binds=parts, unified=True)
    for path, text in CONFIGURATION.items():
        box.write(path, text)
    box.write("/usr/local/bin/here", RUNTIME, mode=0o755)
    box.write(BOTH, WRAPPER, mode=0o755)
    box.run(["bash", "-c", MAKE_IMAGE])
    agent = Agent(box)
    agent.install()
    py_spy = shutil.which("py-spy", path=str(Path(sys.executable).parent))
    assert py_spy is not None, "py-spy is one of the test tools: make setup"
    box.put(Path(py_spy), "/usr/local/bin/py-spy")
    box.write(contained.TOKEN_FILE, f"{contained.TOKEN}\n", mode=0o600)
    agent.configure(SERVICE)
    agent.wait("serving")
    return agent


def containers(box: Container) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        box.run(["podman", "ps", "-a", "--format=json"]).stdout
    )
    return found


def inspected(box: Container) -> dict[str, Any]:
    return contained.inspected(box, "podman")


@newer
def test_systemd_has_nothing_to_object_to(agent: Agent) -> None:
    contained.assert_systemd_has_nothing_to_object_to(agent.box)


@newer
def test_the_engine_in_the_container_is_verified_as_any_other(agent: Agent) -> None:
    contained.assert_verified(agent.box)
    assert agent.status()["phase"] == "serving"


@both
def test_its_processes_and_its_lines_are_those_of_the_unit(agent: Agent) -> None:
    box = agent.box
    group = box.run(["systemctl", "status", "-n0", "-l", "vllm.service"]).stdout
    assert "VLLM::EngineCore" in group
    assert "Application startup complete" in box.journal("vllm.service")


@both
def test_the_container_is_what_was_asked_for(agent: Agent) -> None:
    seen = inspected(agent.box)
    contained.assert_asked_for(agent.box, seen)
    assert seen["HostConfig"]["NetworkMode"] == "host"
    # podman 4.3 says "shareable" of the host's, too: the kernel is asked.
    pid = seen["State"]["Pid"]
    spaces = [f"/proc/{one}/ns/ipc" for one in (1, pid)]
    assert len(set(agent.box.run(["readlink", *spaces]).stdout.split())) == 2
    mounted = agent.box.read(f"/proc/{pid}/mounts").splitlines()
    flags = {line.split()[1]: set(line.split()[3].split(",")) for line in mounted}
    assert "size=16777216k" in flags["/dev/shm"]
    assert {"nosuid", "nodev"} <= flags["/var/lib/vllm-containers"]
    contained.assert_has_a_users_rights(agent.box, pid)


@newer
def test_an_engine_goes_back_to_roots_rights_and_to_a_users_again(agent: Agent) -> None:
    contained.assert_basic_and_back(agent, SERVICE)


@older
def test_the_doctor_finds_runtime_and_image_with_the_agents_own_rights(agent: Agent) -> None:
    results = contained.assert_the_doctor_is_content(agent.box)
    assert results["container-gpus"] == "skipped"
    assert "driver-cuda" not in results


@newer
def test_the_token_reaches_the_container_and_shows_nowhere(agent: Agent) -> None:
    box = agent.box
    contained.assert_the_token_reaches_it_and_shows_nowhere(box, inspected(box))
    assert contained.TOKEN not in box.read(UNIT)


@newer
def test_an_engine_that_is_killed_in_the_container_comes_back(agent: Agent) -> None:
    box = agent.box
    before = inspected(box)["Id"]
    box.run(["pkill", "-KILL", "-f", "VLLM::EngineCore"])
    box.wait_for(
        lambda: (seen := containers(box)) and seen[0]["Id"] != before, 20, "another container"
    )
    agent.wait("serving")
    assert len(containers(box)) == 1


@older
def test_the_stacks_of_a_hung_engine_are_seen_from_outside_the_container(agent: Agent) -> None:
    box = agent.box
    before = inspected(box)["Id"]
    box.run(["pkill", "-STOP", "-f", "VLLM::EngineCore"])
    # With a request in flight a hang is seen in seconds.
    ask = ["curl", "-sm60", "http://127.0.0.1:8000/v1/completions", "-d", '{"prompt":"a"}']
    with box.popen([*ask, "-H", "Content-Type: application/json"]):
        box.wait_for(
            lambda: (seen := containers(box)) and seen[0]["Id"] != before, 60, "another container"
        )
    (taken,) = agent.events("evidence")
    stacks = {seen["name"]: seen["stack"] for seen in taken["data"]["processes"]}
    (core,) = (stack for name, stack in stacks.items() if name.startswith("VLLM::Engine"))
    assert "MainThread" in core, taken
    agent.wait("serving")


@both
def test_a_client_that_is_killed_takes_the_container_with_it(agent: Agent) -> None:
    box = agent.box
    before = inspected(box)["Id"]
    box.run(["kill", "-KILL", str(agent.pid("vllm"))])
    box.wait_for(
        lambda: (seen := containers(box)) and seen[0]["Id"] != before, 20, "another container"
    )
    agent.wait("serving")
    assert len(containers(box)) == 1


@newer
def test_a_stop_leaves_no_container(agent: Agent) -> None:
    contained.assert_stops(agent)
    assert containers(agent.box) == []


@newer
def test_an_image_that_is_not_there_is_not_pulled_but_held_with_the_reason(agent: Agent) -> None:
    agent.begin_anew()  # else the last good image would be gone back to
    agent.configure(SERVICE.replace(IMAGE, "localhost/vllm-openai:v9.9.9"))
    held = agent.wait("held")
    assert held["failure"]["class"] == "image-missing", held
    assert "Pull the image" in json.dumps(held)
    agent.configure(SERVICE)
    agent.wait("serving")


@older
def test_a_model_is_fetched_by_the_images_python_and_served_offline(agent: Agent) -> None:
    box = agent.box
    agent.begin_anew()
    argv = ["env", "-C", str(paths.REPO), sys.executable, "-m", "tests.rig.hub", str(HUB_PORT)]
    hub = box.popen_on_host(argv)
    try:
        box.wait_for(lambda: box.http_post(HUB_PORT, "/_hub", {}).status == 200, 10, "the hub")
        agent.configure(FROM_HUB)
        agent.wait("serving")
    finally:
        hub.kill()
        hub.communicate()
    assert "complete" in box.journal("vllm-fetch.service")
    unit = "/etc/llmagent/units/vllm-fetch.service"
    assert box.run(["systemd-analyze", "verify", "--man=no", unit], check=False).stderr == ""
    assert "HF_HUB_OFFLINE=1" in inspected(box)["Config"]["Env"]
    agent.begin_anew()
    agent.configure(SERVICE)
    agent.wait("serving")


@older
def test_a_strangers_container_of_that_name_is_left_alone_and_named(agent: Agent) -> None:
    box = agent.box
    box.run(["systemctl", "stop", "vllm"])
    agent.wait("stopped")
    made = box.run(
        [
            *("podman", "create", "--name=vllm", "--pull=never", "-v", "/srv:/models:ro"),
            *("-p", "127.0.0.1:8080:8000", "-e", "VLLM_LOGGING_LEVEL=DEBUG", IMAGE),
            *("vllm", "serve", "/models/llama", "--max-num-seqs", "4"),
            *("--chat-template", "/models/t.jinja"),
        ]
    ).stdout.strip()
    taken = box.run(["llmagent", "import", made, "--name", "taken", "--format=json"], check=False)
    assert json.loads(taken.stdout)["services"]["taken"] == {
        "model": "/srv/llama",
        "host": "127.0.0.1",
        "port": 8080,
        "chat_template": "/srv/t.jinja",
        "max_num_seqs": 4,
        "environment": {"VLLM_LOGGING_LEVEL": "DEBUG"},
        "engine": {"runtime": "podman", "image": IMAGE},
    }
    box.run(["systemctl", "start", "vllm"], check=False)
    held = agent.wait("held")
    assert held["failure"]["class"] == "container-refused", held
    assert "llmagent did not make" in box.journal("vllm.service")
    assert [one["Id"] for one in containers(box)] == [made]
    box.run(["podman", "rm", made])
    box.run(["systemctl", "start", "vllm"])
    agent.wait("serving")


CDI = """
cdiVersion: "0.5.0"
kind: nvidia.com/gpu
devices: [{name: all, containerEdits: {env: [SIMULATED_GPU=yes]}}]
"""
"""A device that NVIDIA's toolkit would describe; here it only sets a variable."""


THEIR_PYTHON = f"""#!/usr/bin/python3
import os, sys
os.execv("{scripted.PYTHON}", [sys.argv[0], *sys.argv[1:]])
"""


@older
def test_a_strangers_container_that_serves_is_taken_over_and_comes_back_by_hand(
    agent: Agent,
) -> None:
    box = agent.box
    box.run(["systemctl", "stop", "vllm"])
    agent.begin_anew()
    box.write("/etc/cdi/nvidia.yaml", CDI)
    box.write("/srv/python3", THEIR_PYTHON, mode=0o755)
    box.run(["podman", "create", "--name=base", IMAGE, "true"])
    box.run(["podman", "cp", "/srv/python3", "base:/python3"])
    path = "PATH=/:/usr/bin:/bin"
    box.run(["podman", "commit", "--quiet", f"--change=ENV={path}", "base", THEIRS], timeout=120)
    box.run(["podman", "rm", "base"])
    serves = ("--model", "/srv/llama", "--host", "127.0.0.1", "--port", "8000")
    box.run(
        [
            *("podman", "run", "--detach", "--name=vllm", "--network=host", "--pids-limit=-1"),
            *("--restart=on-failure", "--device=nvidia.com/gpu=all", "-v", "/srv/llama:/srv/llama"),
            *(THEIRS, "python3", "-m", "vllm.entrypoints.openai.api_server", *serves),
        ]
    )
    box.wait_for(lambda: box.http_get(8000, "/health").status == 200, 20, "their engine")
    done = box.run(
        ["llmagent", "import", "vllm", "--take-over", "--yes", "--format", "json"],
        check=False,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["taken_over"]
    assert agent.wait("serving")["main_pid"]
    ours, theirs = sorted(containers(box), key=lambda one: len(one["Names"][0]))
    assert (ours["Names"], ours["State"]) == (["vllm"], "running")
    assert (theirs["Names"], theirs["State"]) == (["vllm.before-llmagent"], "exited")
    pid = inspected(box)["State"]["Pid"]
    assert "SIMULATED_GPU=yes" in box.read(f"/proc/{pid}/environ").split("\0")

    # The way back, as it was printed before anything was stopped.
    printed = [line.strip() for line in done.stderr.splitlines() if line.startswith("    ")]
    assert printed[0].startswith("take [service.vllm] out of")
    agent.configure("")
    for command in printed[2:]:
        box.run(["bash", "-c", command], check="update" not in command)
    box.wait_for(lambda: box.http_get(8000, "/health").status == 200, 20, "their engine again")
    assert [one["Names"] for one in containers(box)] == [["vllm"]]
    box.run(["podman", "rm", "--force", "vllm"])
    agent.configure(SERVICE)
    agent.wait("serving")
