# SPDX-License-Identifier: Apache-2.0
"""The systemd adapter on real systemd and D-Bus, of Debian 12 and 13."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pytest

from tests.conftest import Boot
from tests.container.inside import tell_inside
from tests.rig import binds
from tests.rig.container import Container

IMPORTS: Final = """
from agent.host.systemd import SystemdBus, SystemdError, UnitWatch
bus = SystemdBus()
"""
SLEEPER: Final = "[Service]\nType=exec\nExecStart=/bin/sleep infinity\n"


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def box(boot_for_module: Boot, request: pytest.FixtureRequest) -> Container:
    return boot_for_module(request.param, binds=[binds.agent_code()])


def unit(box: Container, name: str, text: str) -> None:
    box.write(f"/etc/systemd/system/{name}", text)
    box.run(["systemctl", "daemon-reload"])


def ask(box: Container, program: str, within: Sequence[str] = ()) -> Any:
    return tell_inside(box, IMPORTS + program, within=within)


def test_a_started_service_is_read_with_its_command_line(box: Container) -> None:
    unit(box, "sleeper.service", SLEEPER)
    result, state = ask(
        box, 'tell(bus.start("sleeper.service", 10)); tell(bus.read("sleeper.service"))'
    )
    shown = box.show("sleeper.service", "MainPID", "InvocationID", "CPUUsageNSec")
    assert result == "done"
    counted = shown["CPUUsageNSec"].isdigit()  # with cgroups of version 2, or CPUAccounting=
    assert (state.pop("cpu_seconds") is not None) == counted
    assert state == {
        "unit": "sleeper.service",
        "load_state": "loaded",
        "active_state": "active",
        "sub_state": "running",
        "result": "success",
        "exec_main_code": 0,
        "exec_main_status": 0,
        "main_pid": int(shown["MainPID"]),
        "invocation_id": shown["InvocationID"],
        "n_restarts": 0,
        "need_daemon_reload": False,
        "fragment_path": "/etc/systemd/system/sleeper.service",
        "drop_in_paths": [],
        "unit_file_state": "static",
        "command_line": ["/bin/sleep", "infinity"],
    }
    assert ask(box, 'tell(bus.stop("sleeper.service", 10))') == "done"


def test_a_unit_that_does_not_exist_is_not_found_and_stopped_but_cannot_start(
    box: Container,
) -> None:
    told = ask(
        box,
        """
state = bus.read("absent.service")
tell([state.load_state, state.active_state, state.invocation_id, state.command_line])
tell(bus.stop("absent.service", 10))
bus.reset_failed("absent.service")
try:
    bus.start("absent.service", 10)
except SystemdError as failure:
    tell([failure.errno, str(failure)])
""",
    )
    assert told[0] == ["not-found", "inactive", "", []]
    assert told[1] == "done"
    number, sentence = told[2]
    assert number == 2
    assert "absent.service cannot start: there is no such unit file" in sentence


def test_a_masked_or_mistaken_unit_file_is_an_error_that_says_so(box: Container) -> None:
    unit(box, "mistaken.service", "[Service]\nType=exec\n")
    box.run(["ln", "-sf", "/dev/null", "/etc/systemd/system/masked.service"])
    box.run(["systemctl", "daemon-reload"])
    told = ask(
        box,
        """
for name in ("mistaken.service", "masked.service"):
    try:
        bus.restart(name, 10)
    except SystemdError as failure:
        tell(str(failure))
""",
    )
    assert "its unit file has a bad setting" in told[0]
    assert "it is masked" in told[1]


JOBS: Final = {
    "exit 3 after exec": (
        "Type=exec\nExecStart=/bin/sh -c 'sleep 0.2; exit 3'",
        ["done", "failed", "exit-code", 1, 3],
    ),
    "no such program": ("Type=exec\nExecStart=/no/such", ["failed", "failed", "exit-code", 1, 203]),
    "no such group": (
        "Type=exec\nSupplementaryGroups=absent\nExecStart=/bin/true",
        ["failed", "failed", "exit-code", 1, 216],
    ),
    "killed": (
        "Type=exec\nLimitCORE=0\nExecStart=/bin/sh -c 'sleep 0.2; kill -9 $$$$'",
        ["done", "failed", "signal", 2, 9],
    ),
    "exit 0": ("Type=exec\nExecStart=/bin/sleep 0.2", ["done", "inactive", "success", 1, 0]),
    "an exit status that counts as success": (
        "Type=exec\nSuccessExitStatus=7\nExecStart=/bin/sh -c 'sleep 0.2; exit 7'",
        ["done", "inactive", "success", 1, 7],
    ),
    "never ready in time": (
        "Type=notify\nTimeoutStartSec=300ms\nExecStart=/bin/sleep infinity",
        ["failed", "failed", "timeout", 2, 15],
    ),
}


@pytest.mark.parametrize("case", JOBS)
def test_how_a_start_ended_is_told_and_stays_readable(box: Container, case: str) -> None:
    service, expected = JOBS[case]
    unit(box, "job.service", f"[Service]\n{service}\n")
    told = ask(
        box,
        """
bus.read("job.service")
result = bus.start("job.service", 10)
while (state := bus.read("job.service")).active_state not in ("inactive", "failed"):
    time.sleep(0.01)
tell([result, state.active_state, state.result, state.exec_main_code, state.exec_main_status])
bus.reset_failed("job.service")
""",
    )
    assert told == expected


def test_the_processes_of_a_units_control_group_are_told_also_after_its_end(box: Container) -> None:
    child = "/bin/sh -c 'sleep 600 & exec sleep 300'"
    unit(box, "two.service", f"[Service]\nType=exec\nKillMode=process\nExecStart={child}\n")
    told = ask(
        box,
        """
def commands():
    return sorted(line for _, line in bus.processes("two.service"))

found = [commands(), bus.processes("absent.service")]
bus.start("two.service", 10)
while len(commands()) < 2 or any("sh" in line for line in commands()):
    time.sleep(0.01)
found.append(commands())
bus.stop("two.service", 10)
found.append(commands())
bus.kill("two.service", "all", signal.SIGKILL)
while commands():
    time.sleep(0.01)
tell(found)
""",
    )
    assert told == [[], [], ["sleep 300", "sleep 600"], ["sleep 600"]]


def test_a_swallowed_sigterm_ends_as_a_timeout(box: Container) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        ' open("/run/deaf", "w"); time.sleep(600)'
    )
    service = f"Type=exec\nTimeoutStopSec=300ms\nExecStart=/usr/bin/python3 -c '{deaf}'\n"
    unit(box, "deaf.service", "[Service]\n" + service)
    told = ask(
        box,
        """
bus.start("deaf.service", 10)
while not Path("/run/deaf").exists():
    time.sleep(0.01)
result = bus.stop("deaf.service", 10)
state = bus.read("deaf.service")
tell([result, state.active_state, state.result, state.exec_main_code, state.exec_main_status])
bus.reset_failed("deaf.service")
""",
    )
    assert told == ["done", "failed", "timeout", 2, 9]


def test_a_required_unit_that_fails_a_failed_assertion_and_a_job_timeout_have_their_own_results(
    box: Container,
) -> None:
    unit(box, "broken.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n")
    needs = "[Unit]\nRequires=broken.service\nAfter=broken.service\n"
    unit(box, "needs.service", needs + SLEEPER)
    unit(box, "asserts.service", "[Unit]\nAssertPathExists=/no/such\n" + SLEEPER)
    slow = "[Service]\nType=oneshot\nExecStart=/bin/sleep infinity\n"
    unit(box, "slow.service", "[Unit]\nJobTimeoutSec=300ms\n" + slow)
    told = ask(
        box,
        """
tell([bus.start(f"{name}.service", 10) for name in ("needs", "asserts", "slow")])
bus.stop("slow.service", 10)
""",
    )
    assert told == ["dependency", "assert", "timeout"]


def test_a_deadline_ends_the_wait_and_a_stop_cancels_the_job(box: Container) -> None:
    unit(box, "endless.service", "[Service]\nType=notify\nExecStart=/bin/sleep infinity\n")
    told = ask(
        box,
        """
tell([bus.start("endless.service", 0), bus.start("endless.service", 0.2)])
results = []
starter = threading.Thread(target=lambda: results.append(SystemdBus().start("endless.service", 20)))
starter.start()
time.sleep(0.3)
results.append(bus.stop("endless.service", 10))
starter.join()
tell(sorted(results))
""",
    )
    assert told == [["pending", "pending"], ["canceled", "done"]]


def test_a_start_supersedes_an_automatic_restart_that_is_minutes_away(box: Container) -> None:
    unit(box, "net.service", SLEEPER + "Restart=always\nRestartSec=600\n")
    told = ask(
        box,
        """
bus.start("net.service", 10)
before = bus.read("net.service")
bus.kill("net.service", "main", signal.SIGKILL)
while not (waits := bus.read("net.service")).pending_restart:
    time.sleep(0.01)
tell([waits.active_state, waits.result, waits.exec_main_code, waits.exec_main_status,
      waits.main_pid])
result = bus.start("net.service", 10)
after = bus.read("net.service")
tell([result, after.sub_state, after.main_pid not in (0, before.main_pid),
      after.invocation_id != before.invocation_id])
bus.stop("net.service", 10)
""",
    )
    assert told[0] == ["activating", "signal", 2, 9, 0]
    assert told[1] == ["done", "running", True, True]


def test_a_stop_ends_a_pending_automatic_restart(box: Container) -> None:
    unit(box, "net.service", SLEEPER + "Restart=always\nRestartSec=1\n")
    told = ask(
        box,
        """
bus.start("net.service", 10)
bus.kill("net.service", "main", signal.SIGKILL)
while not bus.read("net.service").pending_restart:
    time.sleep(0.01)
tell(bus.stop("net.service", 10))
watch = UnitWatch(["net.service"])
watch.wait(0.1)
tell(watch.wait(2))
tell(bus.read("net.service").sub_state)
""",
    )
    # What had failed stays failed until it is started again; it is not started.
    assert told[0] == "done"
    assert told[1] == []
    assert told[2] in ("dead", "failed")


def test_a_linked_unit_can_be_started_changed_and_unlinked_and_keeps_its_drop_in(
    box: Container,
) -> None:
    box.write("/etc/llmagent/units/linked.service", SLEEPER)
    drop_in = "/etc/systemd/system/linked.service.d/override.conf"
    box.write(drop_in, "[Service]\nEnvironment=A=b\n")
    told = ask(
        box,
        """
from agent.host.systemd.unit_files import write_if_changed
path = Path("/etc/llmagent/units/linked.service")
bus.link(path)
bus.daemon_reload()
tell(bus.start("linked.service", 10))
state = bus.read("linked.service")
tell([state.fragment_path, state.drop_in_paths, state.unit_file_state, state.need_daemon_reload])
write_if_changed(path, path.read_text().replace("infinity", "9999"))
tell(bus.read("linked.service").need_daemon_reload)
bus.daemon_reload()
bus.link(path)
bus.restart("linked.service", 10)
state = bus.read("linked.service")
tell([state.need_daemon_reload, state.command_line])
bus.stop("linked.service", 10)
bus.unlink("linked.service")
bus.daemon_reload()
tell(SystemdBus().read("linked.service").unit_file_state)
""",
    )
    assert told[0] == "done"
    # systemd 252 names the link, 257 the file that it leads to.
    path, drop_ins, file_state, reload_needed = told[1]
    assert path.endswith("/linked.service")
    assert (drop_ins, file_state, reload_needed) == ([drop_in], "linked", False)
    assert told[2] is True
    assert told[3] == [False, ["/bin/sleep", "9999"]]
    assert told[4] == ""
    assert box.exists(drop_in)
    assert box.exists("/etc/llmagent/units/linked.service")
    assert not box.exists("/etc/systemd/system/linked.service")


def test_the_watch_tells_a_death_a_start_and_a_reload_and_is_silent_otherwise(
    box: Container,
) -> None:
    unit(box, "watched.service", SLEEPER)
    unit(box, "other.service", SLEEPER)
    told = ask(
        box,
        """
bus.start("watched.service", 10)
watch = UnitWatch(["watched.service", "absent.service"])
tell(watch.wait(5))
def quiet():
    while changed := watch.wait(0.5):
        bus.read("watched.service"), bus.read("absent.service")
    return changed
tell(quiet())
bus.start("other.service", 10); bus.stop("other.service", 10)
tell(watch.wait(0.5))
os.kill(bus.read("watched.service").main_pid, signal.SIGKILL)
tell(watch.wait(5))
quiet()
systemctl("start", "watched.service")
tell(watch.wait(5))
quiet()
systemctl("daemon-reload")
tell(watch.wait(5))
bus.stop("watched.service", 10)
""",
    )
    both = ["absent.service", "watched.service"]
    assert told == [both, [], [], ["watched.service"], ["watched.service"], both]


def test_signals_that_any_user_forges_end_no_watch(box: Container) -> None:
    """They come to the watch's own connection, with a body that systemd never sends."""
    unit(box, "watched.service", SLEEPER)
    told = ask(
        box,
        """
watch = UnitWatch(["watched.service"])
watch.wait(5)
def quiet():
    while watch.wait(0.5):
        bus.read("watched.service")
quiet()
listed = subprocess.run(["busctl", "--no-legend", "list"], capture_output=True, text=True).stdout
ours = [line.split()[0] for line in listed.splitlines() if line.split()[1] == str(os.getpid())]
tell(len(ours) > 0)
manager = ["/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"]
for member, *body in (["JobNew"], ["JobRemoved"], ["JobRemoved", "string:x"], ["JobNew",
        "dict:string:uint32:a,1", "array:byte:1,2"], ["Reloading"], ["Reloading", "string:x"]):
    for name in ours:
        subprocess.run(["setpriv", "--reuid=nobody", "--clear-groups", "dbus-send", "--system",
            "--type=signal", f"--dest={name}", manager[0], f"{manager[1]}.{member}", *body],
            check=True)
tell(len(watch.wait(2)) <= 1)
quiet()
bus.start("watched.service", 10)
tell(watch.wait(5))
bus.stop("watched.service", 10)
""",
    )
    assert told == [True, True, ["watched.service"]]


def test_the_watch_is_woken_and_given_other_units_by_another_thread(box: Container) -> None:
    unit(box, "watched.service", SLEEPER)
    told = ask(
        box,
        """
watch = UnitWatch(["watched.service"])
watch.wait(5)
def later(action, *arguments):
    threading.Timer(0.2, action, arguments).start()
later(watch.wake)
tell(watch.wait(600))
later(watch.set_units, ["watched.service", "dbus.service"])
tell(watch.wait(600))
watch.close()
""",
    )
    assert told == [[], ["dbus.service", "watched.service"]]


def test_work_goes_on_without_the_system_bus_and_after_its_return(box: Container) -> None:
    unit(box, "steady.service", SLEEPER)
    told = ask(
        box,
        """
watch = UnitWatch(["steady.service"])
def settle():
    while watch.wait(0.5):
        pass
bus.start("steady.service", 10)
settle()
for turn in ("stop", "start"):
    systemctl(turn, "dbus.socket", "dbus.service")
    tell(watch.wait(1))
    settle()
    before = bus.read("steady.service")
    result = bus.restart("steady.service", 10)
    after = bus.read("steady.service")
    tell([before.sub_state, result, after.sub_state, after.main_pid != before.main_pid])
    tell(watch.wait(5))
    settle()
bus.stop("steady.service", 10)
bus.close()
tell(bus.read("steady.service").sub_state)
""",
    )
    news, restarted = ["steady.service"], ["running", "done", "running", True]
    # A new connection may have missed something, so it tells all units; the second turn needs none.
    assert told == [news, restarted, news, [], restarted, news, "dead"]


def test_an_idle_unit_can_be_stopped_and_reset_without_the_system_bus(box: Container) -> None:
    unit(box, "idle.service", SLEEPER)
    told = ask(
        box,
        """
systemctl("stop", "dbus.socket", "dbus.service")
try:
    tell(bus.stop("idle.service", 10))
    bus.reset_failed("idle.service")
    tell(bus.read("idle.service").active_state)
finally:
    systemctl("start", "dbus.socket", "dbus.service")
""",
    )
    assert told == ["done", "inactive"]


def test_work_goes_on_when_systemd_re_executes_itself(box: Container) -> None:
    unit(box, "steady.service", SLEEPER)
    told = ask(
        box,
        """
watch = UnitWatch(["steady.service"])
bus.start("steady.service", 10)
while watch.wait(0.5):
    pass
before = bus.read("steady.service")
systemctl("daemon-reexec")
after = bus.read("steady.service")
tell(after == before)
while watch.wait(0.5):
    pass
bus.kill("steady.service", "main", signal.SIGKILL)
tell(watch.wait(5))
bus.reset_failed("steady.service")
""",
    )
    assert told == [True, ["steady.service"]]


def test_no_way_to_systemd_is_an_error_in_one_sentence(box: Container) -> None:
    told = ask(
        box,
        """
for action in (lambda: bus.read("x.service"), lambda: UnitWatch(["x.service"]).wait(600),
               lambda: bus.start("x.service", 600)):
    try:
        action()
    except SystemdError as failure:
        tell([failure.errno > 0, str(failure)])
""",
        within=["unshare", "--mount", "sh", "-c", 'mount -t tmpfs t /run && exec "$@"', "sh"],
    )
    assert len(told) == 3
    for has_number, sentence in told:
        assert has_number
        assert sentence.startswith("neither the system bus nor /run/systemd/private answers")


def test_jobs_leave_no_descriptors_behind(box: Container) -> None:
    unit(box, "job.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n")
    told = ask(
        box,
        """
def descriptors():
    return len(os.listdir("/proc/self/fd"))
def round():
    bus.start("job.service", 10)
    try:
        bus.start("absent.service", 10)
    except SystemdError:
        pass
round()
before = descriptors()
for _ in range(20):
    round()
tell(descriptors() - before)
""",
    )
    assert told == 0
