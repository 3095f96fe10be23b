# SPDX-License-Identifier: Apache-2.0
"""vLLM in a container of docker: the rendered unit on a real dockerd, with the agent in charge.

One machine for all: the tests go on where the one before ended.

docker.io, containerd and crun are Debian's: 26.1 of Debian 13 for all stories, 20.10 of Debian 12
for those in which docker's releases differ. What the test machine's kernel refuses to containers
within containers (limits above its own, device filters, session keyrings) is taken out between
docker and crun, and noted. docker keeps its layers in memory: the machine's disk is an overlay
already.
"""

import json
import shutil
import sys
from pathlib import Path

import pytest

from agent.core.unit.container import WENT_ON
from tests.conftest import Boot
from tests.container import contained
from tests.container.contained import ASKED_LIMITS
from tests.rig import binds, images, scripted
from tests.rig.container import Container, Suite
from tests.rig.installed import Agent

IMAGE = "vllm/vllm-openai:v0.32.0"
RUNTIME = f"""#!/usr/bin/python3
import json, os, pathlib, sys
words = sys.argv[1:]
if "create" in words:
    at = next(n for n, word in enumerate(words) if word in ("--bundle", "-b"))
    file = pathlib.Path(words[at + 1]) / "config.json"
    config = json.loads(file.read_text())
    pathlib.Path("{ASKED_LIMITS}").write_text(json.dumps(config["process"].pop("rlimits", [])))
    config["linux"]["resources"] = {{}}
    file.write_text(json.dumps(config))
    words.insert(words.index("create") + 1, "--no-new-keyring")
os.execv("/usr/bin/crun", ["crun", *words])
"""
DAEMON = {
    "runtimes": {"here": {"path": "/usr/local/bin/here"}},
    "default-runtime": "here",
    "storage-driver": "overlay2",
}
SERVICE = contained.service_in("docker", IMAGE)


CDI = """
cdiVersion: "0.5.0"
kind: nvidia.com/gpu
devices:
- name: all
  containerEdits:
    env: [SIMULATED_GPU=yes]
    deviceNodes: [{path: /dev/nvidia-simulated, hostPath: /dev/zero}]
"""
"""A device that NVIDIA's toolkit would describe; here a variable and a file of a device."""


both = pytest.mark.parametrize("agent", ["trixie", "bookworm"], indirect=True)
# The first of both is the newer's: tests of a parameter's place are run together, on one machine.
newer = pytest.mark.parametrize("agent", ["trixie"], indirect=True)


@pytest.fixture(scope="module")
def agent(boot_for_module: Boot, request: pytest.FixtureRequest) -> Agent:
    suite: Suite = request.param
    packages = [binds.docker(suite), binds.scripted_engine()]
    box = boot_for_module(suite, binds=packages, unified=True)
    box.write("/usr/local/bin/here", RUNTIME, mode=0o755)
    configure_docker(box)
    layers = "mkdir -p /var/lib/docker && mount -t tmpfs tmpfs /var/lib/docker\n"
    box.run(["bash", "-c", layers + images.install_script("/srv/docker")], timeout=120)
    box.run(["bash", "-c", images.import_script(f"docker import - {IMAGE}")])
    agent = Agent(box)
    agent.install()
    py_spy = shutil.which("py-spy", path=str(Path(sys.executable).parent))
    assert py_spy is not None, "py-spy is one of the test tools: make setup"
    box.put(Path(py_spy), "/usr/local/bin/py-spy")
    box.write(contained.TOKEN_FILE, f"{contained.TOKEN}\n", mode=0o600)
    agent.configure(SERVICE)
    agent.wait("serving")
    return agent


def configure_docker(box: Container, **more: object) -> None:
    box.write("/etc/docker/daemon.json", json.dumps({**DAEMON, **more}))


def containers(box: Container) -> list[str]:
    """Returns the id of each container that is there, run or not."""
    return box.run(["docker", "ps", "-aq", "--no-trunc"]).stdout.split()


def wait_for_another(agent: Agent, before: list[str]) -> None:
    """Waits until one container is there that was not, and the service serves."""
    agent.box.wait_for(
        lambda: (seen := containers(agent.box)) != before and len(seen) == 1,
        60,
        "another container",
    )
    agent.wait("serving")


@newer
def test_an_image_that_is_not_there_is_not_pulled_but_held_with_the_reason(agent: Agent) -> None:
    agent.begin_anew()  # else the last good image would be gone back to
    agent.configure(SERVICE.replace(IMAGE, "vllm/vllm-openai:v9.9.9"))
    held = agent.wait("held")
    assert held["failure"]["class"] == "image-missing", held
    agent.configure(SERVICE)
    agent.wait("serving")


@newer
def test_the_engine_in_the_container_is_verified_as_any_other(agent: Agent) -> None:
    box = agent.box
    contained.assert_systemd_has_nothing_to_object_to(box)
    contained.assert_verified(box)
    assert "Application startup complete" in box.journal("vllm.service")


@both
def test_the_container_is_what_was_asked_for(agent: Agent) -> None:
    box = agent.box
    seen = contained.inspected(box, "docker")
    contained.assert_asked_for(box, seen)
    host = seen["HostConfig"]
    assert (host["NetworkMode"], host["IpcMode"], host["ShmSize"]) == ("host", "private", 16 << 30)
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    contained.assert_has_a_users_rights(box, seen["State"]["Pid"])
    contained.assert_the_token_reaches_it_and_shows_nowhere(box, seen)


@newer
def test_gpus_are_devices_of_cdi_where_the_daemon_takes_them(agent: Agent) -> None:
    box = agent.box
    contained.assert_the_doctor_is_content(box)
    agent.configure(SERVICE.replace('gpu_access = "none"', 'gpu_access = "cdi"'))
    held = agent.wait("held")
    assert held["failure"]["class"] == "container-gpu", held
    told = box.run(["llmagent", "doctor", "--format", "json"], check=False).stdout
    assert "its daemon takes no CDI devices" in told
    box.write("/etc/cdi/nvidia.yaml", CDI)
    configure_docker(box, features={"cdi": True})
    box.run(["systemctl", "restart", "docker"])
    results = contained.assert_the_doctor_is_content(box)
    assert results["container-gpus"] == "ok"
    box.run(["systemctl", "start", "vllm"])
    agent.wait("serving")
    inside = f"/proc/{contained.inspected(box, 'docker')['State']['Pid']}"
    assert "SIMULATED_GPU=yes" in box.read(f"{inside}/environ").split("\0")
    assert box.exists(f"{inside}/root/dev/nvidia-simulated")
    agent.configure(SERVICE)
    agent.wait("serving")


@newer
def test_a_daemon_that_hangs_is_told_and_what_it_has_started_goes_on(agent: Agent) -> None:
    box = agent.box
    before = containers(box)
    box.run(["pkill", "-STOP", "-x", "dockerd"])
    try:
        said = box.run(["llmagent", "import", "strange"], check=False)
        assert "docker does not answer" in said.stderr
        told = box.run(["llmagent", "doctor", "--format", "json"], check=False).stdout
        (found,) = (f for f in json.loads(told)["findings"] if f["check"] == "container-runtime")
        assert (found["result"], "restart docker" in found["fix"]) == ("fail", True)
        box.run(["llmagent", "bundle", "--output", "/tmp/bundle.tar.gz"])
        assert agent.status()["phase"] == "serving"
    finally:
        box.run(["pkill", "-CONT", "-x", "dockerd"])
    assert containers(box) == before


@newer
def test_an_engine_that_is_killed_in_the_container_comes_back(agent: Agent) -> None:
    before = containers(agent.box)
    agent.box.run(["pkill", "-KILL", "-f", "VLLM::EngineCore"])
    wait_for_another(agent, before)


@newer
def test_the_stacks_of_a_hung_engine_are_taken_though_docker_keeps_it(agent: Agent) -> None:
    box = agent.box
    before = containers(box)
    box.run(["pkill", "-STOP", "-f", "VLLM::EngineCore"])
    # With a request in flight a hang is seen in seconds.
    ask = ["curl", "-sm60", "http://127.0.0.1:8000/v1/completions", "-d", '{"prompt":"a"}']
    with box.popen([*ask, "-H", "Content-Type: application/json"]):
        wait_for_another(agent, before)
    (taken,) = agent.events("evidence")
    stacks = {seen["name"]: seen["stack"] for seen in taken["data"]["processes"]}
    (core,) = (stack for name, stack in stacks.items() if name.startswith("VLLM::Engine"))
    assert "MainThread" in core, taken


@newer
def test_a_client_that_is_killed_takes_the_container_with_it(agent: Agent) -> None:
    before = containers(agent.box)
    agent.box.run(["kill", "-KILL", str(agent.pid("vllm"))])
    wait_for_another(agent, before)


@newer
def test_a_stop_leaves_no_container(agent: Agent) -> None:
    contained.assert_stops(agent)
    assert containers(agent.box) == []


@newer
def test_a_container_of_ours_that_was_left_over_makes_room(agent: Agent) -> None:
    box = agent.box
    left = ["docker", "run", "--detach", "--name=vllm", "--label=llmagent.service=vllm"]
    box.run(
        [*left, "--network=host", IMAGE, "/usr/bin/python3", "-c", "import time; time.sleep(99)"]
    )
    before = containers(box)
    box.run(["systemctl", "start", "vllm"])
    wait_for_another(agent, before)


@newer
def test_a_strangers_container_of_that_name_is_left_alone_and_named(agent: Agent) -> None:
    box = agent.box
    box.run(["systemctl", "stop", "vllm"])
    agent.wait("stopped")
    strange = ["docker", "create", "--name=vllm", "-p", "127.0.0.1:8080:8000", "--ipc=host"]
    strange += ["-v", "/srv:/models:ro", "-e", "VLLM_LOGGING_LEVEL=DEBUG", "--ulimit=memlock=-1"]
    serve = ["vllm", "serve", "/models/llama", "--max-num-seqs", "4"]
    made = box.run([*strange, IMAGE, *serve]).stdout.strip()
    taken = box.run(["llmagent", "import", made, "--name", "taken", "--format=json"], check=False)
    assert json.loads(taken.stdout)["services"]["taken"] == {
        "model": "/srv/llama",
        "host": "127.0.0.1",
        "port": 8080,
        "max_num_seqs": 4,
        "environment": {"VLLM_LOGGING_LEVEL": "DEBUG"},
        # No answer of docker's tells its default runtime from one that was asked for.
        "engine": {"runtime": "docker", "image": IMAGE, "extra_options": ["--runtime=here"]},
    }, taken.stderr
    box.run(["systemctl", "start", "vllm"], check=False)
    held = agent.wait("held")
    assert held["failure"]["class"] == "container-refused", held
    assert containers(box) == [made]
    box.run(["docker", "rm", made])
    box.run(["systemctl", "start", "vllm"])
    agent.wait("serving")


@both
def test_a_daemon_that_restarts_takes_the_engine_along_and_both_come_back(agent: Agent) -> None:
    before = containers(agent.box)
    agent.box.run(["systemctl", "restart", "docker"])
    wait_for_another(agent, before)


@both
def test_with_live_restore_the_engine_outlives_its_daemon(agent: Agent) -> None:
    box = agent.box
    configure_docker(box, **{"live-restore": True})
    box.run(["systemctl", "reload", "docker"])
    before, died = containers(box), len(agent.events("died"))
    box.run(["systemctl", "restart", "docker"])
    box.wait_for(lambda: WENT_ON in box.journal("vllm.service"), 30, "another client")
    assert containers(box) == before
    assert agent.status()["phase"] == "serving"
    assert len(agent.events("died")) == died
    # What the engine says is in the journal again, and its end is seen as before.
    scripted.cue(box, "lines", lines=["said after the restart"])
    box.wait_for(lambda: "said after the restart" in box.journal("vllm.service"), 10, "its line")
    scripted.cue(box, "engine-dead")
    wait_for_another(agent, before)
    assert agent.events("failure")[-1]["data"]["class"] == "engine-dead"


@both
def test_a_stop_lets_requests_end_and_ends_the_engine_though_its_daemon_is_away(
    agent: Agent,
) -> None:
    box = agent.box
    box.run(["systemctl", "stop", "docker.socket", "docker"])
    box.run(["sleep", "2"])
    assert box.http_get(8000, "/health").status == 200, "live-restore is still set"
    assert agent.status()["phase"] == "serving"
    # What is being answered is answered to its end: the engine is asked without its daemon.
    scripted.cue(box, "busy", tokens_per_second=20, seconds=4)
    ask = ["curl", "-sm60", "-w%{http_code}", "http://127.0.0.1:8000/v1/completions"]
    ask += ["-d", '{"prompt":"a","max_tokens":9}', "-H", "Content-Type: application/json"]
    with box.popen(ask) as asked:
        box.run(["sleep", "1"])
        box.run(["systemctl", "stop", "vllm"])
        assert asked.communicate()[0].endswith("200")
    assert agent.wait("stopped")
    assert box.run(["pgrep", "-f", "VLLM::EngineCore"], check=False).stdout == ""
    box.run(["systemctl", "reset-failed", "docker"])  # systemd counts the starts of all stories
    box.run(["systemctl", "start", "docker"])
    box.run(["systemctl", "start", "vllm"])
    agent.wait("serving")
    assert len(containers(box)) == 1
