# SPDX-License-Identifier: Apache-2.0
"""The rendered unit, as real systemd takes it."""

import json
from dataclasses import replace
from typing import Any, cast

import pytest

from agent.core.engine.command_line import command_line
from agent.core.engine.install import Engine
from agent.core.settings.service import Settings
from agent.core.unit.text import UnitInputs, render_unit
from tests.conftest import Boot
from tests.rig import paths
from tests.rig.binds import agent_code
from tests.rig.container import Container, Suite

ENGINE = Engine("0.32.0", has_vllm_metadata=True, flags=None)
METADATA = "Name: vllm\nVersion: 0.32.0\n\n"
CONFIG = '[service.vllm]\nmodel = "/srv/models/m"\npython = "/opt/engine/bin/python"\n'
TOKEN = "hf_MustNotBeSeenAnywhere"
UNIT = "/etc/llmagent/units/vllm.service"

# Tells what it was started with, then waits as a server would.
ENGINE_SCRIPT = """#!/usr/bin/python3
import json, os, pathlib, signal, socket, sys, time
if "--deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "--serving" in sys.argv:
    listener = socket.create_server(("127.0.0.1", 8000))
    def drain(number, frame):
        time.sleep(1)
        print("drained", flush=True)
        os._exit(0)
    signal.signal(signal.SIGTERM, drain)
token = os.environ.get("HF_TOKEN_PATH", "")
seen = {
    "argv": sys.argv,
    "environment": dict(os.environ),
    "token": pathlib.Path(token).read_text() if token else None,
    "uid": os.getuid(),
    "shown": {path: os.access(path, os.R_OK) for path in sys.argv[4:5]},
}
new = pathlib.Path("seen.new")
new.write_text(json.dumps(seen))
new.rename("seen.json")
print("engine is up", flush=True)
time.sleep(3600)
"""

NASTY = (
    "",
    " ",
    "a b",
    "100% %n %% %d/x",
    "$HOME ${HOME} $$ $",
    "double \" single ' back \\ slash \\n",
    "line\nbreak\ttab\rreturn",
    "\x01\x1b[31m\x7f",
    ";",
    "\\",
    "#comment",
    "[Section]",
    "é 漢字 \u2028 \U0001f600",
    "-",
    '{"temperature": 0.5, "stop": ["\\n"]}',
    "ends with \\",
    "x" * 5000,
)


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def box(request: pytest.FixtureRequest, boot_for_module: Boot) -> Container:
    machine = boot_for_module(cast("Suite", request.param), binds=[agent_code()])
    machine.put(paths.REPO / "packaging/bin/llmagent", "/usr/bin/llmagent")
    machine.run(["useradd", "--system", "--no-create-home", "vllm"])
    machine.write("/opt/engine/bin/python", ENGINE_SCRIPT, mode=0o755)
    machine.write("/etc/llmagent/hf_token", f"{TOKEN}\n", mode=0o600)
    return machine


@pytest.fixture
def settings() -> Settings:
    return Settings(name="vllm", model="/srv/models/m", python="/opt/engine/bin/python")


def facts(box: Container) -> UnitInputs:
    names = {line.split(":")[0] for line in box.read("/etc/group").splitlines()}
    return UnitInputs(groups=frozenset(names & {"video", "render"}))


def install(box: Container, settings: Settings) -> None:
    box.write(UNIT, render_unit(settings, ENGINE, facts(box)))
    box.run(["systemctl", "link", UNIT])
    box.run(["systemctl", "daemon-reload"])


def start(box: Container, settings: Settings) -> Any:
    """Install and start the unit; return what the engine saw."""
    install(box, settings)
    box.run(["rm", "-f", "/var/lib/vllm/seen.json"])
    box.run(["systemctl", "restart", "vllm.service"])
    box.wait_for(lambda: box.exists("/var/lib/vllm/seen.json"), 20, "the engine's own report")
    return json.loads(box.read("/var/lib/vllm/seen.json"))


def test_systemd_starts_exactly_what_was_asked_whatever_the_strings(
    box: Container, settings: Settings
) -> None:
    asked = replace(
        settings,
        served_model_name='a "b" $c %d',
        extra_args=NASTY,
        environment={f"NASTY_{number}": text for number, text in enumerate(NASTY)},
    )
    seen = start(box, asked)
    assert list(seen["argv"]) == list(command_line(asked, ENGINE))
    for number, text in enumerate(NASTY):
        assert seen["environment"][f"NASTY_{number}"] == text


def test_systemd_has_nothing_to_object_to(box: Container, settings: Settings) -> None:
    for asked in (
        settings,
        replace(settings, model="org/name", hf_token_file="/etc/llmagent/hf_token"),
        replace(settings, model="/home/ann/a model", tensor_parallel_size=2, extra_args=NASTY),
    ):
        install(box, asked)
        said = box.run(["systemd-analyze", "verify", "--man=no", UNIT], check=False)
        assert (said.returncode, said.stdout + said.stderr) == (0, "")


@pytest.mark.parametrize(
    ("model", "gpus", "exposure"),
    [("/srv/models/m", 1, 15), ("org/name", 1, 16), ("/srv/models/m", 2, 18)],
    ids=["local", "hub", "two GPUs"],
)
def test_the_exposure_is_no_higher_than_what_was_reached(
    box: Container, settings: Settings, model: str, gpus: int, exposure: int
) -> None:
    install(box, replace(settings, model=model, data_parallel_size=gpus))
    said = box.run(
        ["systemd-analyze", "security", "--offline=yes", f"--threshold={exposure}", UNIT],
        check=False,
    )
    assert said.returncode == 0, said.stdout[-2000:]


def test_the_token_reaches_the_engine_and_nobody_else(box: Container, settings: Settings) -> None:
    seen = start(box, replace(settings, hf_token_file="/etc/llmagent/hf_token"))
    assert seen["token"] == f"{TOKEN}\n"
    views = (
        ["systemctl", "show", "vllm.service"],
        ["systemctl", "cat", "vllm.service"],
        ["systemctl", "status", "--full", "vllm.service"],
        ["ps", "axwwe", "-o", "args"],
        ["journalctl", "--no-pager", "--all", "-o", "json"],
    )
    for view in views:
        assert TOKEN not in box.run(view).stdout
    peek = ["setpriv", "--reuid=nobody", "--clear-groups", "cat"]
    for file in ("/etc/llmagent/hf_token", "/run/credentials/vllm.service/hf_token"):
        assert box.run([*peek, file], check=False).returncode != 0


def test_an_operators_drop_in_survives_a_new_unit(box: Container, settings: Settings) -> None:
    start(box, settings)
    drop_in = "/etc/systemd/system/vllm.service.d/override.conf"
    box.write(drop_in, "[Service]\nEnvironment=MINE=1 NO_COLOR=0\nTimeoutStopSec=99\n")
    seen = start(box, replace(settings, max_num_seqs=7))
    assert "--max-num-seqs=7" in seen["argv"]
    assert seen["environment"]["MINE"] == "1"
    assert seen["environment"]["NO_COLOR"] == "0"
    assert box.show("vllm.service", "TimeoutStopUSec")["TimeoutStopUSec"] == "1min 39s"
    box.run(["rm", drop_in])


@pytest.mark.parametrize("model", ["/root/own model", "/tmp/model", "/home/ann/m:1 100%"])
def test_a_model_in_a_place_that_the_sandbox_hides_is_seen_by_the_engine(
    box: Container, settings: Settings, model: str
) -> None:
    box.write(f"{model}/config.json", "{}")
    box.write("/root/secret", "", mode=0o644)
    seen = start(box, replace(settings, model=model))
    assert seen["shown"] == {model: True}
    (pid,) = box.show("vllm.service", "MainPID").values()
    uid = box.run(["id", "-u", "vllm"]).stdout.strip()
    inside = ["nsenter", "-t", pid, "-m", "setpriv", f"--reuid={uid}", "--clear-groups"]
    assert box.run([*inside, "ls", model]).stdout == "config.json\n"
    assert box.run([*inside, "ls", "/root/secret"], check=False).returncode != 0
    assert box.run([*inside, "touch", f"{model}/x"], check=False).returncode != 0


def test_a_model_that_is_not_there_does_not_stop_systemd_from_starting_the_engine(
    box: Container, settings: Settings
) -> None:
    model = "/root/there-is-no-such-model"
    assert start(box, replace(settings, model=model))["shown"] == {model: False}


def test_the_engine_runs_unprivileged_and_can_write_only_where_it_should(
    box: Container, settings: Settings
) -> None:
    start(box, settings)
    (pid,) = box.show("vllm.service", "MainPID").values()
    status = box.read(f"/proc/{pid}/status")
    assert "NoNewPrivs:\t1" in status
    assert "CapBnd:\t0000000000000000" in status
    assert "Seccomp:\t2" in status
    for path in ("/var/lib/vllm", "/var/cache/vllm/vllm"):
        assert box.run(["stat", "-c", "%U %a", path]).stdout == "vllm 750\n"


def test_render_tells_what_differs_from_the_installed_unit(
    box: Container, settings: Settings
) -> None:
    render = ["llmagent", "render", "vllm"]
    box.write("/opt/engine/lib/python3.11/site-packages/vllm-0.32.0.dist-info/METADATA", METADATA)
    box.write("/etc/llmagent/agent.toml", CONFIG)
    box.write(UNIT, "".join(box.run(render).stdout.partition("\n")[2:]))
    assert box.run([*render, "--diff"]).stdout == ""

    override = {"asked": None, "running": 4, "since": 0, "why": "9 did not fit"}
    status = {"services": {"vllm": {"overrides": {"max_num_seqs": override}}}}
    box.write("/run/llmagent/status.json", json.dumps(status))
    done = box.run([*render, "--diff"], check=False)
    assert done.returncode == 1
    changed = [line for line in done.stdout.splitlines() if line[0] in "+-"]
    assert changed == [
        f"--- {UNIT}",
        f"+++ {UNIT} (as it would be)",
        "+# max_num_seqs: asked default, running 4: 9 did not fit",
        "+    --max-num-seqs=4 \\",
    ]
    box.write("/run/llmagent/status.json", "{}")
    assert box.run([*render, "--diff"], check=False).returncode == 4
    box.run(["rm", "/run/llmagent/status.json"])


def test_a_serving_engine_is_given_the_time_to_drain(box: Container, settings: Settings) -> None:
    start(box, replace(settings, extra_args=("--serving",)))
    box.run(["systemctl", "stop", "vllm.service"])
    assert box.show("vllm.service", "Result") == {"Result": "success"}
    assert box.journal("vllm.service").endswith("engine is up\ndrained\n")


def test_an_engine_that_is_deaf_while_it_starts_is_killed_at_once(
    box: Container, settings: Settings
) -> None:
    start(box, replace(settings, extra_args=("--deaf",)))
    box.run(["systemctl", "stop", "vllm.service"])
    assert box.show("vllm.service", "Result") == {"Result": "signal"}
    box.run(["systemctl", "reset-failed", "vllm.service"])


def test_an_exit_with_status_0_is_restarted_by_systemd_alone(
    box: Container, settings: Settings
) -> None:
    start(box, settings)
    (pid,) = box.show("vllm.service", "MainPID").values()
    box.run(["kill", "-TERM", pid])
    box.wait_for(
        lambda: box.show("vllm.service", "SubState")["SubState"] == "auto-restart",
        10,
        "systemd's own restart to be pending",
    )
    box.run(["systemctl", "stop", "vllm.service"])
    assert box.show("vllm.service", "ActiveState")["ActiveState"] == "inactive"
