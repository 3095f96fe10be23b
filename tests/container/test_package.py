# SPDX-License-Identifier: Apache-2.0
"""The package on booted Debian machines: built, installed, upgraded, removed, purged."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import Boot
from tests.project.test_packaging import EXPOSURE
from tests.rig import binds, scripted
from tests.rig import installed as installed_by_all
from tests.rig.container import Container, Suite
from tests.rig.paths import REPO

BUILD: Final = REPO / "packaging/build-deb"
SUITES: Final[tuple[Suite, ...]] = ("bookworm", "trixie")
NEXT: Final = "0.1.1~next"

MODEL: Final = "/srv/models/some"
CONFIG: Final = f"""
[service.vllm]
python = "{scripted.PYTHON}"
model = "{MODEL}"
max_model_len = 4096
"""

WATCHED: Final = ("/etc", "/usr", "/opt", "/lib/systemd", "/var", "/run", "/srv", "/home", "/root")
KEPT: Final = re.compile(
    # What the package keeps on purpose.
    r"/var/(lib|cache)/vllm(/.*)?"
    # The user and its group.
    r"|/etc/(passwd|shadow|group|gshadow|subuid|subgid)-?|/etc/\.pwd\.lock"
    # What apt, dpkg, systemd and ld.so keep of every package.
    r"|/var/(lib|cache)/(apt|dpkg|systemd|debconf|man|ldconfig)(/.*)?|/var/log(/.*)?"
    r"|/run/(systemd|udev|lock|log|dbus|user|mount|utmp|initctl)(/.*)?"
)


def build(output: Path, *options: str) -> Path:
    """Builds the package; returns its path."""
    argv = [str(BUILD), "--output", str(output), *options]
    return Path(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip())


@pytest.fixture(scope="module")
def deb() -> Path:
    return installed_by_all.deb()


@pytest.fixture(scope="module")
def next_deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("next"), "--version", NEXT)


@pytest.fixture(params=SUITES)
def box(boot: Boot, request: pytest.FixtureRequest) -> Container:
    machine = boot(request.param, binds=[binds.scripted_engine()])
    machine.write(f"{MODEL}/config.json", "{}")
    return machine


@pytest.fixture(scope="module", params=SUITES)
def installed(boot_for_module: Boot, request: pytest.FixtureRequest, deb: Path) -> Container:
    """Returns a machine with the package as it is fresh from apt, for tests that only look."""
    machine = boot_for_module(request.param)
    said = machine.install(deb)
    # Who has just installed it is told what to type, each line as it is to be typed.
    assert "sudo llmagent check && sudo systemctl reload llmagent" in said
    return machine


def pid(box: Container, unit: str) -> str:
    """Returns the main process of a unit, "0" when none runs."""
    return box.show(unit, "MainPID")["MainPID"]


def serve(box: Container) -> str:
    """Has the agent serve a model; returns the PID of vLLM."""
    box.write("/etc/llmagent/agent.toml", CONFIG)
    box.run(["systemctl", "reload", "llmagent"])
    box.wait_for(lambda: phase(box) == "serving", 30, "the service to serve")
    return pid(box, "vllm.service")


def phase(box: Container) -> str:
    """Returns the phase of the service in the daemon's words, "" when there is no daemon."""
    done = box.run(["llmagent", "status", "--format", "json"], check=False)
    if done.returncode != 0:
        return ""
    return str(json.loads(done.stdout)["services"].get("vllm", {}).get("phase", ""))


def files(box: Container) -> set[str]:
    """Returns every path below the watched directories, but none of another file system."""
    return set(box.run(["find", *WATCHED, "-xdev"]).stdout.splitlines())


def test_the_same_tree_builds_the_same_bytes(deb: Path, tmp_path: Path) -> None:
    assert build(tmp_path).read_bytes() == deb.read_bytes()


def test_a_build_leaves_nothing_in_the_tree(deb: Path) -> None:
    """No other test builds meanwhile: the package that they share is there."""
    assert not (REPO / "debian").exists()
    assert not list((REPO / "build").glob("deb.*"))


def test_lintian_finds_neither_errors_nor_warnings(deb: Path) -> None:
    argv = ["lintian", "--fail-on", "error,warning", "--tag-display-limit", "0", str(deb)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_fresh_install_runs_and_waits_for_a_service(installed: Container) -> None:
    state = installed.show("llmagent", "ActiveState", "UnitFileState", "NRestarts", "StatusText")
    assert state == {
        "ActiveState": "active",
        "UnitFileState": "enabled",
        "NRestarts": "0",
        "StatusText": "no service configured",
    }
    assert installed.read("/etc/llmagent/agent.toml") == (REPO / "etc/agent.toml").read_text()
    assert "agent.toml" not in installed.run(["dpkg-query", "-Wf${Conffiles}", "llmagent"]).stdout
    assert "no service is configured" in installed.run(["llmagent", "check"]).stdout
    status = json.loads(installed.run(["llmagent", "status", "--format", "json"]).stdout)
    assert status["services"] == {}
    assert "llmagent_build_info" in installed.http_get(9836, "/metrics").body
    for path in ("/", "/page.js", "/status.json", "/past.json", "/manual/llmagent-alerts.7.html"):
        assert installed.http_get(9836, path).status == 200, path
    assert '"events":[{' in installed.http_get(9836, "/events.json").body
    assert "Traceback" not in installed.journal("llmagent.service")


def test_a_fresh_install_makes_an_unprivileged_user_and_private_state(installed: Container) -> None:
    passwd = installed.run(["getent", "passwd", "vllm"]).stdout.strip().split(":")
    assert int(passwd[2]) < 1000
    assert passwd[5:] == ["/var/lib/vllm", "/usr/sbin/nologin"]
    directories = ("/var/lib/llmagent", "/run/llmagent", "/etc/llmagent/units")
    stat = installed.run(["stat", "--format", "%a %U", *directories])
    assert stat.stdout.splitlines() == ["700 root", "755 root", "755 root"]
    as_vllm = ["setpriv", "--reuid=vllm", "--regid=vllm", "--clear-groups"]
    assert installed.run([*as_vllm, "llmagent", "status"]).returncode == 0


def test_the_agents_code_is_compiled_and_shadowed_by_nothing(installed: Container) -> None:
    assert installed.run(["find", "/usr/lib/llmagent", "-name", "main.*.pyc"]).stdout
    minor = installed.run(
        ["python3", "-c", "import sys; print(sys.version_info.minor)"]
    ).stdout.strip()
    evil = "raise SystemExit('shadowed')"
    local = f"/usr/local/lib/python3.{minor}/dist-packages"
    installed.write(f"{local}/prometheus_client/__init__.py", evil)
    installed.write("/srv/argparse.py", evil)
    installed.write("/srv/agent/__init__.py", evil)
    here = ["env", "--chdir=/srv", "PYTHONPATH=/srv", "PYTHONHOME=/srv", "llmagent", "check"]
    assert installed.run(here).returncode == 0
    installed.run(["systemctl", "restart", "llmagent"])


def test_the_unit_is_sound_and_as_confined_as_it_was(installed: Container) -> None:
    # No man in so small a machine: that its pages are there is seen by the next line.
    installed.run(["systemd-analyze", "verify", "--man=no", "llmagent.service"])
    installed.run(["test", "-s", "/usr/share/man/man1/llmagent.1.gz"])
    installed.run(["test", "-s", "/usr/share/man/man5/agent.toml.5.gz"])
    argv = ["systemd-analyze", "security", f"--threshold={EXPOSURE}", "llmagent.service"]
    installed.run(argv)


@pytest.mark.parametrize(
    ("settings", "exposure"),
    [
        ('model = "/srv/models/some"', 15),
        ('model = "org/name"', 16),
        ('model = "org/name"\ntensor_parallel_size = 2\ngpus = [0, 1]', 18),
    ],
    ids=["local", "hub", "two GPUs"],
)
def test_the_units_that_it_renders_are_no_more_exposed_than_what_is_published(
    installed: Container, settings: str, exposure: int
) -> None:
    packages = "/srv/venv/lib/python3.11/site-packages"
    installed.write("/srv/venv/pyvenv.cfg", "home = /usr/bin\n")
    installed.write("/srv/venv/bin/python", "#!/bin/sh\n", mode=0o755)
    installed.write(f"{packages}/vllm-0.32.0.dist-info/METADATA", "Name: vllm\nVersion: 0.32.0\n\n")
    python = 'python = "/srv/venv/bin/python"'
    installed.write("/srv/agent.toml", f"[service.vllm]\n{python}\n{settings}\n")
    unit = installed.run(["llmagent", "render", "--config", "/srv/agent.toml"]).stdout
    installed.write("/srv/vllm.service", unit)
    argv = ["systemd-analyze", "security", "--offline=yes", "--no-pager", "/srv/vllm.service"]
    said = installed.run([*argv, f"--threshold={exposure}"]).stdout
    print(said.splitlines()[-1])


def test_the_confined_agent_finds_an_engine_in_a_home_that_is_closed(
    box: Container, deb: Path
) -> None:
    box.install(deb)
    box.run(["mkdir", "-p", "/home/someone"])
    box.run(["cp", "-a", "/opt/scripted-engine", "/home/someone/engine"])
    box.run(["chown", "nobody", "/home/someone"])
    box.run(["chmod", "700", "/home/someone"])
    python = scripted.PYTHON.replace("/opt/scripted-engine", "/home/someone/engine")
    box.write("/etc/llmagent/agent.toml", CONFIG.replace(scripted.PYTHON, python))
    box.run(["systemctl", "reload", "llmagent"])

    unit = "/etc/llmagent/units/vllm.service"
    box.wait_for(lambda: box.exists(unit), 10, "the unit")
    # Only who has seen the engine's version knows that it has this option.
    assert "--shutdown-timeout=" in box.read(unit)


def test_a_killed_agent_is_back_and_has_not_touched_vllm(box: Container, deb: Path) -> None:
    box.install(deb)
    vllm = serve(box)
    agent = pid(box, "llmagent.service")

    # As if it had been reading a line of vLLM's just then.
    mark = ["dd", "of=/run/llmagent/lines/journal:vllm", "conv=notrunc", "status=none"]
    box.run(["systemctl", "kill", "--signal=STOP", "llmagent"])
    box.run(["sh", "-c", f"printf 's=1;i=2' | {shlex.join(mark)}"])
    box.run(["systemctl", "kill", "--signal=KILL", "llmagent"])

    box.wait_for(lambda: pid(box, "llmagent.service") not in ("0", agent), 20, "a new agent")
    box.wait_for(lambda: phase(box) == "serving", 30, "the new agent to take vLLM over")
    assert pid(box, "vllm.service") == vllm
    assert len(scripted.starts(box)) == 1
    told = "ended while it read a line (journal:vllm)"
    box.wait_for(lambda: told in box.run(["llmagent", "events"]).stdout, 20, "the line to be told")


def test_a_broken_file_fails_the_reload_and_changes_nothing(box: Container, deb: Path) -> None:
    box.install(deb)
    vllm = serve(box)
    agent = pid(box, "llmagent.service")
    box.write("/etc/llmagent/agent.toml", CONFIG + "max_model_length = 1\n")

    done = box.run(["systemctl", "reload", "llmagent"], check=False)

    assert done.returncode != 0
    said = box.journal("llmagent.service")
    assert "service.vllm.max_model_length: unknown key; did you mean max_model_len?" in said
    assert (pid(box, "llmagent.service"), pid(box, "vllm.service")) == (agent, vllm)


def test_a_broken_file_neither_fails_the_installation_nor_makes_a_restart_storm(
    box: Container, deb: Path, next_deb: Path
) -> None:
    box.install(deb)
    box.run(["systemctl", "stop", "llmagent"])
    box.run(["find", "/var/lib/llmagent", "-type", "f", "-delete"])
    box.write("/etc/llmagent/agent.toml", "[service.vllm]\nmodle = 1\n")

    box.install(next_deb)

    def failed() -> bool:
        return box.show("llmagent", "ActiveState")["ActiveState"] == "failed"

    box.wait_for(failed, 10, "the agent to refuse the file")
    assert box.show("llmagent", "ExecMainStatus", "NRestarts") == {
        "ExecMainStatus": "2",
        "NRestarts": "0",
    }
    box.write("/etc/llmagent/agent.toml", CONFIG)
    box.run(["systemctl", "start", "llmagent"])


def test_removal_stops_what_the_agent_runs_and_nothing_else(box: Container, deb: Path) -> None:
    box.install(deb)
    serve(box)
    box.run(["systemctl", "enable", "vllm"])
    box.write("/etc/systemd/system/vllm.service.d/own.conf", "[Service]\nEnvironment=A=b\n")
    own = "[Service]\nExecStart=/usr/bin/sleep infinity\n"
    box.write("/etc/systemd/system/own.service", own)
    box.write("/etc/llmagent/units/own.service", own)
    box.run(["systemctl", "daemon-reload"])
    box.run(["systemctl", "start", "own"])

    said = box.run(["apt-get", "remove", "-y", "llmagent"]).stdout

    assert "llmagent: stopping vllm.service\n" in said
    assert "llmagent: kept: /etc/llmagent /var/lib/llmagent (" in said
    assert box.http_get(8000, "/health").status == 0
    assert box.show("vllm", "ActiveState", "LoadState")["ActiveState"] == "inactive"
    assert not box.run(["find", "/etc/systemd/system", "-name", "vllm.service"]).stdout
    assert box.exists("/etc/systemd/system/vllm.service.d/own.conf")
    assert box.read("/etc/llmagent/agent.toml") == CONFIG
    assert box.show("own", "ActiveState")["ActiveState"] == "active"
    assert box.read("/etc/systemd/system/own.service") == own


@pytest.mark.story("A4")
def test_a_package_that_comes_back_keeps_its_history_and_serves_again(
    box: Container, deb: Path
) -> None:
    box.install(deb)
    serve(box)
    box.run(["apt-get", "remove", "-y", "llmagent"])

    box.install(deb)

    # Nobody has asked for vLLM to stay away: the removal of the package stopped it.
    box.wait_for(lambda: phase(box) == "serving", 30, "the service to be back")
    events = box.run(["llmagent", "events", "--all"]).stdout
    assert "it was stopped with the package, which is installed again" in events
    assert "stopped by the operator" not in events


def test_what_the_operator_stopped_stays_stopped_over_a_reinstallation(
    box: Container, deb: Path
) -> None:
    box.install(deb)
    serve(box)
    box.run(["systemctl", "stop", "vllm"])
    box.wait_for(lambda: phase(box) == "stopped", 20, "the agent to see that it was stopped")
    box.run(["apt-get", "remove", "-y", "llmagent"])

    box.install(deb)

    box.wait_for(lambda: phase(box) == "stopped", 20, "the agent to have read its state")
    assert box.show("vllm", "ActiveState")["ActiveState"] == "inactive"


@pytest.mark.story("B10", "B11")
def test_a_purge_leaves_nothing_but_the_models_and_their_user(box: Container, deb: Path) -> None:
    before = files(box)
    box.install(deb)
    serve(box)
    box.write("/var/lib/vllm/huggingface/blob", "a model")
    box.write("/etc/systemd/system/vllm.service.d/.keep", "")
    box.run(["rm", "/etc/systemd/system/vllm.service.d/.keep"])
    box.write("/etc/llmagent/hf_token", "a secret", mode=0o600)
    box.run(["systemctl", "kill", "--signal=KILL", "llmagent", "vllm"])

    done = box.run(["apt-get", "purge", "-y", "llmagent"])

    assert (
        "llmagent: kept: the user vllm, the group llmagent, models and caches: /var/lib/vllm"
        in done.stdout
    )
    assert "warning" not in done.stdout + done.stderr
    assert not box.run(["systemctl", "--failed", "--quiet", "--no-legend", "list-units"]).stdout

    box.run(["rm", "-f", f"/tmp/{deb.name}"])
    left = {path for path in files(box) - before if not KEPT.fullmatch(path)}
    assert left == set()
    assert box.read("/var/lib/vllm/huggingface/blob") == "a model"
    assert box.run(["getent", "passwd", "vllm"]).stdout
    assert pid(box, "llmagent.service") == pid(box, "vllm.service") == "0"
