# SPDX-License-Identifier: Apache-2.0
"""The machines that the other tests stand on are real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Boot
from tests.rig import binds, paths, scripted
from tests.rig.container import Bind, Container, Suite
from tests.rig.lan import INTERFACE, Lan
from tests.rig.nspawn import SCRATCH, SCRATCH_PREFIX, sweep

SUITES = pytest.mark.parametrize("suite", ["bookworm", "trixie"])
MIB = 2**20


@SUITES
def test_systemd_is_pid_1_and_nothing_has_failed(boot: Boot, suite: Suite) -> None:
    box = boot(suite)
    assert box.read("/proc/1/comm").strip() == "systemd"
    assert box.run(["systemctl", "is-system-running"]).stdout.strip() == "running"
    assert f"VERSION_CODENAME={suite}" in box.read("/etc/os-release")


@SUITES
def test_the_journal_has_the_lines_of_a_unit(boot: Boot, suite: Suite) -> None:
    box = boot(suite)
    box.run(["systemd-run", "--unit=speaker", "--wait", "echo", "one line"])
    box.wait_for(lambda: "one line" in box.journal("speaker.service"), 10, "the line")


def test_two_machines_side_by_side_do_not_see_each_other(boot: Boot) -> None:
    one, other = boot("bookworm"), boot("bookworm")
    for box in (one, other):
        box.run(["systemd-run", "--unit=same", "sleep", "1000"])
    one.run(["systemctl", "stop", "same.service"])
    one.write("/etc/only-here", "x")
    assert other.show("same.service", "ActiveState") == {"ActiveState": "active"}
    assert not other.exists("/etc/only-here")


def test_the_only_network_is_loopback(bookworm: Container) -> None:
    assert bookworm.run(["ls", "/sys/class/net"]).stdout.split() == ["lo"]
    server = bookworm.popen_on_host([sys.executable, "-m", "http.server", "8099"])
    try:
        bookworm.wait_for(lambda: bookworm.http_get(8099, "/").status == 200, 20, "an answer")
    finally:
        server.kill()
        server.communicate()


def _reaches(one: Container, other: Container, seconds: float = 0.7) -> bool:
    url = f"http://{other.cable.address}:8099/usr/bin/ip"
    done = one.run(["curl", "-s", "-f", "-m", str(seconds), "-o", "/dev/null", url], check=False)
    return done.returncode == 0


def _serve(box: Container) -> None:
    script = ["python3", "-m", "http.server", "8099", "--directory", "/"]
    box.run(["systemd-run", "--unit=pages", *script])
    box.wait_for(lambda: box.http_get(8099, "/").status == 200, 20, "an answer")


def test_machines_on_one_lan_meet_and_their_cables_fail_as_cables_do(boot: Boot) -> None:
    with Lan() as lan:
        one, other = boot("bookworm", lan=lan), boot("bookworm", lan=lan)
        for box in (one, other):
            _serve(box)
        assert _reaches(one, other)
        assert _reaches(other, one)
        one.cable.cut()
        assert not _reaches(other, one)
        assert "NO-CARRIER" in one.run(["ip", "link", "show", INTERFACE]).stdout
        one.cable.mend()
        assert _reaches(one, other, 10)
        one.cable.lose([other.cable], openings_only=True)
        assert not _reaches(one, other)
        assert _reaches(other, one)
        one.cable.lose([other.cable])
        assert not _reaches(other, one)
        one.cable.mend()
        one.cable.slow(100_000)  # the file has about 700,000 bytes
        assert not _reaches(other, one, 2)
        one.kill9()
        one.boot()
        _serve(one)
        assert not _reaches(other, one, 2), "a boot has mended the cable"
        one.cable.mend()
        assert _reaches(other, one, 10)


def test_the_disk_survives_a_reboot_and_a_pulled_plug(bookworm: Container) -> None:
    bookworm.write("/etc/kept", "kept")
    bookworm.reboot()
    first_pid_1 = bookworm.leader
    assert bookworm.read("/etc/kept") == "kept"
    bookworm.kill9()
    assert not Path(f"/proc/{first_pid_1}").exists()
    bookworm.boot()
    assert bookworm.read("/etc/kept") == "kept"


def test_a_memory_limit_is_the_kernels(boot: Boot) -> None:
    box = boot("bookworm", memory_limit=256 * MIB)
    eater = "x = bytearray(512 << 20)"
    assert box.run(["python3", "-c", eater], check=False).returncode == 0, "nsenter is outside"
    done = box.run(["systemd-run", "--wait", "--pipe", "python3", "-c", eater], check=False)
    assert done.returncode != 0


def test_files_are_put_as_root_and_binds_are_read_only(boot: Boot, tmp_path: Path) -> None:
    (tmp_path / "inner").write_text("text")
    os.chown(tmp_path / "inner", 1234, 1234)
    box = boot("bookworm", binds=[Bind(tmp_path, "/srv/bound")])
    assert box.run(["touch", "/srv/bound/x"], check=False).returncode != 0
    box.put(tmp_path, "/srv/copied")
    assert box.run(["stat", "-c", "%u %g", "/srv/copied/inner"]).stdout.split() == ["0", "0"]


def test_nothing_outlives_a_test_run_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(
        "import time\n"
        "from tests.rig.container import Container\n"
        "with Container('bookworm') as box:\n"
        "    print(box.leader, flush=True)\n"
        "    time.sleep(1000)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(paths.REPO)}
    run = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, env=environment)
    with run:
        assert run.stdout is not None
        leader = Path("/proc") / run.stdout.readline().decode().strip()
        assert leader.exists()
        run.send_signal(signal.SIGKILL)
    end = time.monotonic() + 60
    while leader.exists():
        assert time.monotonic() < end, "the container is still there"
        time.sleep(0.05)
    sweep()
    assert not list(SCRATCH.glob(f"{SCRATCH_PREFIX}{run.pid}-*"))


def test_the_scripted_engine_runs_as_a_sandboxed_service(boot: Boot) -> None:
    box = boot("bookworm", binds=[binds.scripted_engine()])
    scripted.set_scenario(box, {"free_gib": 15.0}, {})
    argv = [scripted.PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", "/m"]
    for _ in range(2):
        box.run(
            [
                *("systemd-run", "--unit=vllm", "--property=DynamicUser=yes", "--collect"),
                *("--property=StateDirectory=vllm", "--property=ProtectSystem=strict", *argv),
            ]
        )
        box.wait_for(
            lambda: (
                box.http_get(8000, "/health").status == 200
                or box.show("vllm.service", "ActiveState")["ActiveState"] in ("failed", "inactive")
            ),
            20,
            "the engine to be ready or to fail",
        )
    log = box.journal("vllm.service")
    assert "Free memory on device cuda:0 (15.0/23.53 GiB) on startup is less than" in log
    assert scripted.starts(box)[-1].value("--model") == "/m"
    scripted.cue(box, "engine-dead")
    box.wait_for(
        lambda: box.show("vllm.service", "ActiveState")["ActiveState"] == "inactive", 20, "exit 0"
    )
