# SPDX-License-Identifier: Apache-2.0
"""The installed agent on real systemd with the scripted engine: faults that no CPU can show."""

from __future__ import annotations

import json
import re
import signal
from typing import Any

import pytest

from tests.rig import scripted
from tests.rig.container import Container
from tests.rig.installed import CONFIG, OURS, Agent, service_table


def settles_soon(**settings: Any) -> str:
    return service_table(**settings).replace("settle_seconds = 20", "settle_seconds = 1")


def died(box: Container, unit: str = "vllm.service") -> None:
    box.run(["systemctl", "kill", "-s", "KILL", unit])


def test_without_a_service_the_agent_runs_and_says_so(agent: Agent) -> None:
    assert "no service is configured" in agent.box.run(["llmagent", "status"]).stdout
    assert "llmagent_build_info" in agent.metrics()
    assert "llmagent_config_valid 1.0" in agent.metrics()


@pytest.mark.parametrize(
    ("scenario", "asked", "failure", "setting", "expected"),
    [
        (
            {"total_gib": 24.0, "free_gib": 20.3},
            {"gpu_memory_utilization": 0.95, "max_model_len": 4096},
            "oom-free-mem-startup",
            "gpu_memory_utilization",
            0.83,
        ),
        (
            {"total_gib": 24.0, "free_gib": 23.5, "weights_gib": 17.0},
            {"gpu_memory_utilization": 0.7, "max_model_len": 4096},
            "oom-kv-none",
            "gpu_memory_utilization",
            None,
        ),
        (
            {"total_gib": 24.0, "free_gib": 23.5, "weights_gib": 5.0},
            {"gpu_memory_utilization": 0.97, "max_model_len": 1000000},
            "oom-kv-too-small-for-maxlen",
            "max_model_len",
            None,
        ),
    ],
)
def test_a_memory_failure_is_named_and_cured_by_its_own_numbers(
    agent: Agent,
    scenario: dict[str, object],
    asked: dict[str, Any],
    failure: str,
    setting: str,
    expected: float | None,
) -> None:
    scripted.set_scenario(agent.box, scenario)
    agent.configure(service_table(**asked))
    status = agent.wait("serving")
    assert failure in status["restarts"]
    learned = status["overrides"][setting]
    assert learned["asked"] == asked[setting]
    assert expected is None or learned["running"] == expected
    unit = agent.box.run(["systemctl", "cat", "vllm"]).stdout
    assert f"--{setting.replace('_', '-')}={learned['running']}" in unit
    assert f'class="{failure}",service="vllm"}} 1.0' in agent.metrics()


def test_engine_death_with_exit_status_0_brings_it_back(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {})
    agent.configure(service_table(**OURS))
    agent.wait("serving")
    before = agent.pid("vllm")
    scripted.cue(agent.box, "engine-dead")
    agent.box.wait_for(lambda: agent.pid("vllm") not in (0, before), 20, "a new process")
    status = agent.wait("serving")
    assert status["restarts"] == {"engine-dead": 1}


def test_a_hung_engine_that_answers_health_is_killed_and_comes_back(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {}, {})
    agent.configure(service_table(**OURS))
    agent.wait("serving")
    before = agent.pid("vllm")
    scripted.cue(agent.box, "hang")
    assert agent.box.http_get(8000, "/health").status == 200
    agent.box.wait_for(lambda: agent.pid("vllm") not in (0, before), 40, "a new process")
    assert agent.wait("serving")["restarts"] == {"engine-hung": 1}


def test_a_busy_engine_is_left_alone(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {})
    agent.configure(service_table(**OURS))
    before = agent.wait("serving")["main_pid"]
    scripted.cue(agent.box, "busy")
    agent.box.run(["sleep", "10"])
    assert agent.pid("vllm") == before
    assert agent.status()["restarts"] == {}


def test_a_mistake_in_the_arguments_is_held_and_says_what_to_do(agent: Agent) -> None:
    line = "api_server.py: error: unrecognized arguments: --swap-space=4"
    scripted.set_scenario(agent.box, {"fail_at": "import", "fail_lines": [line], "fail_status": 2})
    agent.configure(service_table(**OURS))
    status = agent.wait("held")
    assert status["failure"]["class"] in ("removed-flag", "unknown-arg")
    assert "--swap-space" in " ".join(status["failure"]["evidence"])
    assert status["held"]["what_to_do"]
    assert agent.box.show("vllm", "ActiveState")["ActiveState"] == "inactive"
    assert len(scripted.starts(agent.box)) == 1
    assert 'llmagent_service_held{service="vllm"} 1.0' in agent.metrics()


def test_new_settings_that_vllm_refuses_give_way_to_those_that_served(agent: Agent) -> None:
    line = "api_server.py: error: unrecognized arguments: --no-such-flag=4"
    refused = {"fail_at": "import", "fail_lines": [line], "fail_status": 2}
    scripted.set_scenario(agent.box, {}, refused, {})
    agent.configure(settles_soon(**OURS))
    agent.wait("serving")
    agent.box.run(["sleep", "4"])  # it settles
    agent.configure(settles_soon(**OURS, max_num_seqs=7))
    agent.box.wait_for(lambda: bool(agent.events("rolled-back")), 40, "the old settings")
    status = agent.wait("serving")
    assert "max_num_seqs unset -> 7" in status["rolled_back"]["why"]
    assert status["asked"]["max_num_seqs"] == 7
    assert "max_num_seqs" not in status["running"]
    unit = agent.box.run(["systemctl", "cat", "vllm"]).stdout
    assert "--max-num-seqs" not in unit
    assert "last known good settings" in unit
    assert 'llmagent_service_rolled_back{service="vllm"} 1.0' in agent.metrics()
    assert "rolled back since" in agent.box.run(["llmagent", "status"]).stdout
    scripted.set_scenario(agent.box, {})
    agent.configure(settles_soon(**OURS, max_num_seqs=8))
    agent.box.wait_for(lambda: agent.status()["rolled_back"] is None, 40, "the new settings")
    assert agent.wait("serving")["running"]["max_num_seqs"] == 8


def test_an_unknown_crash_is_tried_again(agent: Agent) -> None:
    bad = {"fail_at": "load", "fail_lines": ["something never seen before"], "fail_status": 1}
    scripted.set_scenario(agent.box, bad, bad, bad, {})
    agent.configure(service_table(**OURS))
    status = agent.wait("serving")
    assert status["restarts"] == {"unknown": 3}


def test_an_operators_stop_is_respected_and_so_is_the_start(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {})
    agent.configure(service_table(**OURS))
    agent.wait("serving")
    agent.box.run(["systemctl", "stop", "vllm"])
    assert "operator" in agent.wait("stopped")["reason"]
    agent.box.run(["systemctl", "restart", "llmagent"])
    agent.box.run(["sleep", "3"])
    assert agent.status()["phase"] == "stopped"
    agent.box.run(["systemctl", "start", "vllm"])
    agent.wait("serving")


def test_sigterm_ends_the_agent_within_2_seconds_and_leaves_vllm_serving(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {})
    agent.configure(service_table(**OURS))
    before = agent.wait("serving")["main_pid"]
    done = agent.box.run(["timeout", "2", "systemctl", "stop", "llmagent"], check=False)
    assert done.returncode == 0
    assert agent.box.show("llmagent", "Result")["Result"] == "success"
    assert agent.pid("vllm") == before
    assert agent.box.http_get(8000, "/health").status == 200
    agent.box.run(["systemctl", "start", "llmagent"])
    agent.wait("serving")
    assert agent.pid("vllm") == before


def test_a_reload_restarts_only_for_settings_that_need_it(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {})
    agent.configure(service_table(**OURS))
    before = agent.wait("serving")["main_pid"]
    agent.configure(service_table(**OURS, recovery="start_stall_seconds = 700\n"))
    agent.box.run(["sleep", "2"])
    assert agent.pid("vllm") == before
    assert any("start_stall_seconds" in event["message"] for event in agent.events("reload"))
    agent.configure(service_table(**OURS, max_num_seqs=17))
    agent.box.wait_for(lambda: agent.pid("vllm") not in (0, before), 60, "a new process")
    agent.wait("serving")
    assert scripted.starts(agent.box)[-1].value("--max-num-seqs") == "17"


def test_a_broken_file_is_refused_and_the_old_one_stays_in_force(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {})
    agent.configure(service_table(**OURS))
    before = agent.wait("serving")["main_pid"]
    agent.box.write(CONFIG, service_table(**OURS, max_num_sequences=4))
    reload = agent.box.run(["systemctl", "reload", "llmagent"], check=False)
    assert reload.returncode != 0
    agent.box.wait_for(lambda: "llmagent_config_valid 0.0" in agent.metrics(), 10, "config_valid 0")
    assert "max_num_seqs" in agent.events("refused")[-1]["message"]
    assert agent.pid("vllm") == before
    agent.box.run(["systemctl", "restart", "llmagent"])
    agent.wait("serving")
    assert agent.pid("vllm") == before


def test_what_check_refuses_stops_nothing(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {})
    agent.configure(service_table(**OURS))
    before = agent.wait("serving")["main_pid"]
    agent.box.write(CONFIG, service_table(**OURS).replace("/srv/llama", "/srv/llamma"))
    reload = agent.box.run(["systemctl", "reload", "llmagent"], check=False)
    assert reload.returncode != 0
    agent.box.wait_for(lambda: agent.events("refused"), 10, "the refusal in the history")
    assert "/srv/llamma does not exist" in agent.events("refused")[-1]["message"]
    assert agent.pid("vllm") == before
    agent.configure(service_table(**OURS))
    assert agent.pid("vllm") == before


def test_a_disabled_service_stays_protected(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {}, {})
    agent.configure(service_table(**OURS))
    before = agent.wait("serving")["main_pid"]
    agent.box.run(["systemctl", "disable", "vllm"])
    linked = "/etc/systemd/system/vllm.service"
    agent.box.wait_for(lambda: agent.box.exists(linked), 20, "the link to be back")
    assert agent.pid("vllm") == before
    agent.box.run(["systemctl", "kill", "--signal=KILL", "vllm"])
    agent.box.wait_for(lambda: agent.pid("vllm") not in (0, before), 30, "a new process")
    agent.wait("serving")
    assert not agent.events("stopped")


def test_two_services_on_one_gpu_are_started_one_after_the_other(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {"phase_seconds": {"load": 3.0}})
    agent.configure(
        service_table("chat", 8001, gpu_memory_utilization=0.5),
        service_table("embed", 8002, gpu_memory_utilization=0.4),
    )
    first, second = agent.wait("serving", "chat"), agent.wait("serving", "embed")
    chat, embed = scripted.starts(agent.box, 8001)[0], scripted.starts(agent.box, 8002)[0]
    earlier, later = sorted((chat.time, embed.time))
    assert later - earlier > 3.0
    assert first["invocation_id"] != second["invocation_id"]


def test_an_operators_drop_in_survives_and_is_shown(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {"free_gib": 20.0, "total_gib": 24.0}, {})
    path = "/etc/systemd/system/vllm.service.d/override.conf"
    agent.box.write(path, "[Service]\nEnvironment=OPERATOR=was-here\n")
    agent.configure(service_table(gpu_memory_utilization=0.95, max_model_len=4096))
    assert path in agent.wait("serving")["drop_ins"]
    assert "OPERATOR=was-here" in agent.box.run(["systemctl", "cat", "vllm"]).stdout
    agent.box.run(["rm", "-r", "/etc/systemd/system/vllm.service.d"])


def test_a_unit_of_that_name_that_is_not_ours_is_left_alone(agent: Agent) -> None:
    path = "/etc/systemd/system/vllm.service"
    agent.box.write(path, "[Service]\nExecStart=/bin/sleep 1000\n")
    agent.box.run(["systemctl", "daemon-reload"])
    agent.box.run(["systemctl", "start", "vllm"])
    before = agent.pid("vllm")
    scripted.set_scenario(agent.box, {})
    agent.configure(service_table(**OURS))
    assert path in agent.wait("held")["held"]["why"]
    assert agent.pid("vllm") == before
    assert "sleep 1000" in agent.box.read(path)
    agent.box.run(["systemctl", "stop", "vllm"])
    agent.box.run(["rm", path])
    agent.box.run(["systemctl", "daemon-reload"])
    agent.wait("serving")


def test_an_agent_that_has_lost_its_memory_adopts_and_proves_what_runs(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {})
    agent.configure(service_table(**OURS, kv_cache_dtype="fp8"))
    before = agent.wait("serving")
    agent.box.run(["systemctl", "stop", "llmagent"])
    agent.box.run(["find", "/var/lib/llmagent", "-name", "llmagent.db*", "-delete"])
    agent.box.run(["systemctl", "start", "llmagent"])
    after = agent.wait("serving")
    assert after["main_pid"] == before["main_pid"]
    verdicts = [
        {check["item"]: check["verdict"] for check in status["verification"]}
        for status in (before, after)
    ]
    assert verdicts[0] == verdicts[1]


def test_without_the_agent_systemd_alone_brings_vllm_back(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {})
    agent.configure(service_table(**OURS))
    before = agent.wait("serving")["main_pid"]
    agent.box.run(["systemctl", "stop", "llmagent"])
    quick = "/run/systemd/system/vllm.service.d/quick.conf"
    agent.box.write(quick, "[Service]\nRestartSec=3\n")
    agent.box.run(["systemctl", "daemon-reload"])
    died(agent.box)
    agent.box.wait_for(lambda: agent.pid("vllm") not in (0, before), 60, "systemd's own restart")
    agent.box.run(["rm", quick])
    agent.box.run(["systemctl", "start", "llmagent"])
    # At first it only knows what it remembers, and no process.
    agent.box.wait_for(lambda: agent.status().get("main_pid"), 20, "a look at the unit")
    assert agent.wait("serving")["main_pid"] not in (0, before)


def test_the_token_is_seen_nowhere(agent: Agent) -> None:
    secret = "hf_ThisMustNotBeSeenAnywhere"  # a made-up token
    scripted.set_scenario(agent.box, {})
    agent.box.write("/etc/llmagent/hf_token", secret, mode=0o600)
    agent.configure(service_table(**OURS, hf_token_file="/etc/llmagent/hf_token"))
    agent.wait("serving")
    box = agent.box
    shown = [
        box.run(["systemctl", "show", "vllm"]).stdout,
        box.run(["systemctl", "cat", "vllm"]).stdout,
        box.run(["ps", "axwwe"]).stdout,
        box.run(["journalctl", "--no-pager"]).stdout,
        box.run(["llmagent", "status", "--format", "json"]).stdout,
        box.run(["llmagent", "events", "--format", "json"]).stdout,
        box.run(["llmagent", "render"]).stdout,
        agent.metrics(),
    ]
    assert not [text for text in shown if secret in text]


STEPS = (1, 2, 3, 4, 5, 6, 8, 10)


@pytest.mark.parametrize("step", STEPS)
def test_kill_9_of_the_agent_at_any_step_of_a_recovery_loses_nothing(
    agent: Agent, step: int
) -> None:
    """The agent is killed when its history has `step` more lines than before the recovery."""
    scripted.set_scenario(agent.box, {"total_gib": 24.0, "free_gib": 20.3})
    agent.configure(service_table(gpu_memory_utilization=0.95, max_model_len=4096))
    seen = len(agent.events())
    agent.box.wait_for(lambda: len(agent.events()) >= min(seen + step, 12), 30, "the step")
    agent.box.run(["systemctl", "kill", "-s", "KILL", "llmagent"], check=False)
    status = agent.wait("serving", seconds=60)
    assert status["overrides"]["gpu_memory_utilization"]["running"] == 0.83
    used = [start.value("--gpu-memory-utilization") for start in scripted.starts(agent.box)]
    assert used[0] == "0.95"
    assert used[-1] == "0.83"
    assert len(used) <= 3
    said = agent.box.run(["journalctl", "-u", "llmagent"]).stdout
    assert "Traceback" not in said, said[said.index("Traceback") :]


def test_a_killed_dbus_daemon_blinds_the_agent_only_for_a_while(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {})
    agent.configure(service_table(**OURS))
    agent.wait("serving")
    agent.box.run(["systemctl", "stop", "dbus.service", "dbus.socket"])
    died(agent.box)
    agent.box.run(["sleep", "2"])
    agent.box.run(["systemctl", "start", "dbus.socket", "dbus.service"])
    agent.box.wait_for(
        lambda: (
            agent.status().get("restarts") == {"engine-dead": 1}
            and agent.status()["phase"] == "serving"
        ),
        60,
        "the service to be back",
    )


def test_a_reboot_brings_everything_back(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {})
    agent.configure(service_table(**OURS))
    agent.wait("serving")
    agent.box.reboot()
    agent.wait("serving", seconds=60)


def test_the_history_tells_the_whole_story_in_order(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {"total_gib": 24.0, "free_gib": 20.3})
    agent.configure(service_table(gpu_memory_utilization=0.95, max_model_len=4096))
    agent.wait("serving")
    kinds = [event["kind"] for event in agent.events() if event["service"] == "vllm"]
    story = ["configured", "start", "died", "failure", "learned", "remedy", "start", "serving"]
    positions = iter(kinds)
    assert all(kind in positions for kind in story), kinds
    human = agent.box.run(["llmagent", "events", "--since", "1h"]).stdout
    assert re.search(r"oom-free-mem-startup .*20\.3", human)


def test_the_watchdog_restarts_an_agent_that_hangs(agent: Agent) -> None:
    box = agent.box
    box.write("/run/systemd/system/llmagent.service.d/quick.conf", "[Service]\nWatchdogSec=5\n")
    box.run(["systemctl", "daemon-reload"])
    box.run(["systemctl", "restart", "llmagent"])
    before = agent.pid("llmagent")
    box.run(["systemctl", "kill", "-s", str(signal.SIGSTOP.value), "llmagent"])
    box.wait_for(lambda: agent.pid("llmagent") not in (0, before), 60, "a new agent")
    box.run(["systemctl", "revert", "llmagent"])


def test_a_taken_metrics_port_does_not_leave_vllm_unattended(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {})
    server = ["python3", "-m", "http.server", "--bind", "127.0.0.1", "9999"]
    agent.box.run(["systemd-run", "--unit=stranger", *server])
    agent.box.wait_for(lambda: agent.box.http_get(9999, "/").status == 200, 10, "the stranger")
    agent.configure(service_table(**OURS), '[metrics]\nlisten = "127.0.0.1:9999"')
    agent.box.run(["systemctl", "restart", "llmagent"])
    agent.wait("serving")
    assert "source exporter is down" in agent.box.run(["llmagent", "status"]).stdout
    agent.box.run(["systemctl", "stop", "stranger"])
    agent.box.wait_for(
        lambda: "llmagent_build_info" in agent.box.http_get(9999, "/metrics").body, 40, "metrics"
    )


def test_a_disk_that_cannot_be_written_does_not_leave_vllm_unattended(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {})
    agent.configure(service_table(**OURS))
    before = agent.wait("serving")["main_pid"]
    agent.box.run(["systemctl", "stop", "llmagent"])
    agent.box.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", "/var/lib/llmagent"])
    agent.box.run(["dd", "if=/dev/zero", "of=/var/lib/llmagent/full", "bs=1k"], check=False)
    agent.box.run(["systemctl", "start", "llmagent"])
    status = agent.wait("serving")
    said = agent.box.run(["llmagent", "status"]).stdout
    agent.box.run(["systemctl", "stop", "llmagent"])
    agent.box.run(["umount", "/var/lib/llmagent"])
    assert status["main_pid"] == before
    assert "source store is down" in said
    assert "No space left" in said or "full" in said


def test_a_python_that_is_not_there_is_held_with_systemds_own_reason(agent: Agent) -> None:
    agent.box.write(CONFIG, '[service.vllm]\nmodel = "/srv/llama"\npython = "/opt/no/python"')
    reload = agent.box.run(["systemctl", "reload", "llmagent"], check=False)
    assert reload.returncode != 0, "what `check` calls an error is refused"
    assert agent.status() == {}
    # An agent that starts has no other file to go by.
    agent.box.run(["systemctl", "restart", "llmagent"])
    status = agent.wait("held")
    assert "203/EXEC" in status["held"]["why"]
    assert "service.vllm.python" in status["held"]["what_to_do"]


def test_on_mismatch_stop_takes_a_contradicted_service_down(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {"kv_cache_dtype": "auto"})
    table = service_table(**OURS, kv_cache_dtype="fp8")
    agent.configure(table, '[service.vllm.expect]\non_mismatch = "stop"')
    status = agent.wait("held")
    assert "kv_cache_dtype" in status["held"]["why"]
    assert agent.box.show("vllm", "ActiveState")["ActiveState"] == "inactive"


def test_the_confined_agent_sees_what_the_host_has_and_the_service_uses(agent: Agent) -> None:
    agent.configure(service_table())
    agent.wait("serving")
    agent.box.wait_for(
        lambda: "host_service_open_fds{" in (text := agent.metrics()) and "disk_free" in text,
        20,
        "the figures of the service and of its disks",
    )
    found = dict(
        line.rsplit(" ", 1) for line in agent.metrics().splitlines() if not line.startswith("#")
    )
    # vLLM's user is another one than the agent's, which has no right to trace it.
    assert 3 < float(found['llmagent_host_service_open_fds{service="vllm"}']) < 1000
    assert float(found['llmagent_host_service_max_fds{service="vllm"}']) >= 1024
    assert float(found['llmagent_host_service_processes{service="vllm"}']) >= 3
    # The machine has no memory controller of its own; version 2 accounts for CPU time without one.
    assert float(found['llmagent_host_service_cpu_seconds_total{service="vllm"}']) > 0
    assert float(found["llmagent_host_memory_available_bytes"]) > 1 << 26
    assert float(found['llmagent_host_disk_free_bytes{path="/var/cache/vllm"}']) > 1 << 20


def test_status_says_that_the_daemon_is_away(agent: Agent) -> None:
    agent.box.run(["systemctl", "stop", "llmagent"])
    away = agent.box.run(["llmagent", "status"], check=False)
    assert away.returncode == 3
    assert "systemctl start llmagent" in away.stderr
    assert "Traceback" not in away.stderr


@pytest.mark.parametrize(
    "command", ["status", "events", "verify", "check", "render", "diagnose /etc/shadow", "run"]
)
def test_a_user_without_rights_gets_an_answer_or_a_sentence(agent: Agent, command: str) -> None:
    said = agent.box.run(
        [
            *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
            *("llmagent", *command.split()),
        ],
        check=False,
        timeout=60,
    )
    assert "Traceback" not in said.stderr
    assert said.returncode in (0, 1, 2, 4), said
    assert said.stdout or said.stderr


def test_status_json_is_public_and_parses(agent: Agent) -> None:
    text = agent.box.run(
        [
            *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
            *("cat", "/run/llmagent/status.json"),
        ]
    ).stdout
    assert json.loads(text)["config_valid"] is True
