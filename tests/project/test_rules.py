# SPDX-License-Identifier: Apache-2.0
"""The rules that are shipped: each alert comes when it should and at no other time."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.given.full_output import selected_nothing
from tests.rig.paths import REPO

RULES: Final = REPO / "etc/prometheus/llmagent.rules.yml"
MANUAL: Final = REPO / "packaging/man/llmagent-alerts.7"
INSTANCE: Final = "a:9836"
CARD: Final = f'job="llmagent",instance="{INSTANCE}",gpu="0",uuid="GPU-1"'
SERVICE: Final = f'job="llmagent",instance="{INSTANCE}",service="vllm"'
HOST: Final = f'job="llmagent",instance="{INSTANCE}"'
FAILED: Final = "llmagent_service_last_failure_timestamp_seconds"
LIMIT: Final = "llmagent_gpu_power_limit_watts"


@dataclass(frozen=True)
class Case:
    """Series that make an alert, and series that do not; values a minute in promtool's notation.

    `at` is when it is looked, in minutes.
    """

    alert: str
    firing: dict[str, str]
    quiet: dict[str, str]
    at: int = 20


def one(alert: str, name: str, labels: str, firing: str, quiet: str, at: int = 20) -> Case:
    """Returns a case of one series."""
    series = f"{name}{{{labels}}}"
    return Case(alert, {series: firing}, {series: quiet}, at)


def steady(value: float, minutes: int = 90) -> str:
    return f"{value}x{minutes}"


def rising(step: float, minutes: int = 90) -> str:
    return f"0+{step}x{minutes}"


PHASE: Final = "llmagent_service_phase"
LAST_START: Final = f"llmagent_service_start_duration_seconds{{{SERVICE}}}"

CASES: Final = (
    Case(  # gone at minute 20; its last start took five minutes, so 15 minutes are its due
        "LlmagentServiceAway",
        {
            f'{PHASE}{{{SERVICE},phase="serving"}}': "1x19 0x90",
            f'{PHASE}{{{SERVICE},phase="starting"}}': "0x19 1x90",
            LAST_START: steady(300),
        },
        {
            f'{PHASE}{{{SERVICE},phase="serving"}}': "1x19 0x13 1x90",
            f'{PHASE}{{{SERVICE},phase="starting"}}': "0x19 1x13 0x90",
            LAST_START: steady(300),
        },
        at=38,
    ),
    Case(  # at the same minute one that is slow to start is given its time, and one that is stopped
        "LlmagentServiceAway",
        {
            f'{PHASE}{{{SERVICE},phase="serving"}}': "1x19 0x90",
            f'{PHASE}{{{SERVICE},phase="waiting"}}': "0x19 1x90",
            LAST_START: steady(60),
        },
        {
            f'{PHASE}{{{SERVICE},phase="serving"}}': "1x19 0x90",
            f'{PHASE}{{{SERVICE},phase="waiting"}}': "0x19 1x90",
            LAST_START: steady(900),
        },
        at=38,
    ),
    Case(
        "LlmagentServiceAway",
        {f'{PHASE}{{{SERVICE},phase="serving"}}': "1x19 0x90", LAST_START: steady(60)},
        {
            f'{PHASE}{{{SERVICE},phase="serving"}}': "1x19 0x90",
            f'{PHASE}{{{SERVICE},phase="stopped"}}': "0x19 1x90",
            LAST_START: steady(60),
        },
        at=38,
    ),
    one(
        "LlmagentServiceStopped",
        PHASE,
        f'{SERVICE},phase="stopped"',
        steady(1, 800),
        "1x600 0x20 1x200",
        at=740,
    ),
    one("LlmagentServicePaused", "llmagent_service_paused", SERVICE, steady(1), steady(0)),
    one("LlmagentDown", "up", HOST, steady(0), steady(1)),
    one("LlmagentStuck", "llmagent_last_decision_timestamp_seconds", HOST, steady(0), rising(60)),
    one("LlmagentConfigInvalid", "llmagent_config_valid", HOST, steady(0), "0x3 1x90"),
    one("LlmagentSourceDown", "llmagent_source_up", f'{HOST},source="disk"', steady(0), "0x3 1x90"),
    one(
        "LlmagentStartWillFail",
        "llmagent_doctor_finding",
        f'{HOST},check="port",service="vllm",result="fail"',
        steady(1),
        "_x99",
    ),
    one("LlmagentNotifyFailing", "llmagent_notify_failing", HOST, steady(1), "1x10 0x90"),
    one("LlmagentServiceHeld", "llmagent_service_held", SERVICE, steady(1), steady(0)),
    one(
        "LlmagentHangDetectionOff",
        "llmagent_service_hang_detection",
        SERVICE,
        steady(0),
        "0x10 1x90",
    ),
    Case(
        "LlmagentServiceNotServing",
        {
            f'llmagent_service_phase{{{SERVICE},phase="starting"}}': steady(1),
            f'llmagent_service_phase{{{SERVICE},phase="serving"}}': steady(0),
            f'llmagent_service_phase{{{SERVICE},phase="stopped"}}': steady(0),
        },
        {
            f'llmagent_service_phase{{{SERVICE},phase="serving"}}': steady(0),
            f'llmagent_service_phase{{{SERVICE},phase="stopped"}}': steady(1),
        },
        at=80,
    ),
    one(
        "LlmagentServiceNotServing",
        "llmagent_service_phase",
        f'{SERVICE},phase="serving"',
        steady(0),
        "0x40 1x90",
        80,
    ),
    Case(
        "LlmagentServiceRestartStorm",
        {
            f'llmagent_service_restarts_total{{{SERVICE},class="engine-dead"}}': "1+1x10 11x90",
            f'llmagent_service_restarts_total{{{SERVICE},class="oom-runtime"}}': steady(3),
        },
        {f'llmagent_service_restarts_total{{{SERVICE},class="engine-dead"}}': "1+1x3 4x90"},
    ),
    Case(
        "LlmagentServiceStartStalled",
        {f'{FAILED}{{{SERVICE},class="start-stalled"}}': "0"},
        {f'{FAILED}{{{SERVICE},class="engine-dead"}}': "0"},
        at=2,
    ),
    one(
        "LlmagentServiceStartStalled",
        FAILED,
        f'{SERVICE},class="start-stalled"',
        steady(600),
        steady(0),
        65,
    ),
    one(
        "LlmagentServiceHung",
        FAILED,
        f'{SERVICE},class="engine-hung"',
        steady(600),
        steady(0),
        65,
    ),
    Case(
        "LlmagentServiceContradicted",
        {f'llmagent_service_verification{{{SERVICE},item="k",verdict="contradicted"}}': "1x90"},
        {f'llmagent_service_verification{{{SERVICE},item="k",verdict="unknown"}}': steady(1)},
    ),
    one("LlmagentServiceRolledBack", "llmagent_service_rolled_back", SERVICE, "1x90", "0x90"),
    one("LlmagentServiceLearned", "llmagent_service_learned_settings", SERVICE, "2x90", "0x90", 70),
    Case(
        "LlmagentServiceKvCacheFull",
        {
            f"llmagent_service_kv_cache_usage_ratio{{{SERVICE}}}": steady(0.99),
            f"llmagent_service_requests_waiting{{{SERVICE}}}": steady(4),
        },
        {
            f"llmagent_service_kv_cache_usage_ratio{{{SERVICE}}}": steady(0.99),
            f"llmagent_service_requests_waiting{{{SERVICE}}}": steady(0),
        },
    ),
    Case(
        "LlmagentServiceNoTokens",
        {
            f"llmagent_service_requests_running{{{SERVICE}}}": steady(1),
            f"llmagent_service_generation_tokens_total{{{SERVICE}}}": steady(100),
            f"llmagent_service_prompt_tokens_total{{{SERVICE}}}": steady(100),
        },
        {
            f"llmagent_service_requests_running{{{SERVICE}}}": steady(1),
            f"llmagent_service_generation_tokens_total{{{SERVICE}}}": steady(100),
            f"llmagent_service_prompt_tokens_total{{{SERVICE}}}": rising(50),
        },
    ),
    one("LlmagentGpuLost", "llmagent_gpu_lost", CARD, steady(1), steady(0)),
    Case(
        "LlmagentGpuMissing",
        {
            f"llmagent_gpu_visible{{{HOST}}}": steady(7),
            f"llmagent_gpu_expected{{{HOST}}}": steady(8),
        },
        {
            f"llmagent_gpu_visible{{{HOST}}}": "7x1 8x90",
            f"llmagent_gpu_expected{{{HOST}}}": steady(8),
        },
    ),
    Case(
        "LlmagentNvmlDown",
        {f"llmagent_nvml_up{{{HOST}}}": steady(0), f"llmagent_gpu_expected{{{HOST}}}": steady(8)},
        {f"llmagent_nvml_up{{{HOST}}}": steady(0), f"llmagent_gpu_expected{{{HOST}}}": steady(0)},
    ),
    one("LlmagentDriverMismatch", "llmagent_driver_mismatch", HOST, steady(1), steady(0)),
    one(
        "LlmagentGpuCureNeeded", "llmagent_gpu_cure_needed", f'{CARD},cure="reset"', "1x90", "0x90"
    ),
    one("LlmagentGpuRecoveryAction", "llmagent_gpu_recovery_action", CARD, "2x90", "0x90"),
    Case(
        "LlmagentGpuXid",
        {f'llmagent_gpu_xid_last_timestamp_seconds{{{CARD},xid="79"}}': steady(900)},
        {
            f'llmagent_gpu_xid_last_timestamp_seconds{{{CARD},xid="13"}}': steady(900),
            f'llmagent_gpu_xid_last_timestamp_seconds{{{CARD},xid="48"}}': steady(0),
        },
    ),
    Case(
        "LlmagentGpuThermalThrottle",
        {f'llmagent_gpu_clock_event_seconds_total{{{CARD},reason="sw_thermal"}}': rising(6)},
        {
            f'llmagent_gpu_clock_event_seconds_total{{{CARD},reason="sw_power_cap"}}': rising(60),
            f'llmagent_gpu_clock_event_seconds_total{{{CARD},reason="hw_thermal"}}': rising(1),
        },
    ),
    one(
        "LlmagentGpuPowerBrake",
        "llmagent_gpu_clock_event_seconds_total",
        f'{CARD},reason="hw_power_brake"',
        rising(1),
        steady(5),
    ),
    one("LlmagentGpuMarginLow", "llmagent_gpu_thermal_margin_celsius", CARD, "3x90", "9x90"),
    one(
        "LlmagentGpuHeatCritical",
        "llmagent_gpu_heat_level",
        f'{CARD},level="critical"',
        "1x90",
        "0x90",
    ),
    Case(
        "LlmagentGpuPowerLimitNotInForce",
        {
            f'{LIMIT}{{{CARD},kind="enforced"}}': steady(450),
            f"llmagent_gpu_power_limit_target_watts{{{CARD}}}": steady(400),
        },
        {
            f'{LIMIT}{{{CARD},kind="enforced"}}': steady(400),
            f'{LIMIT}{{{CARD},kind="default"}}': steady(450),
            f"llmagent_gpu_power_limit_target_watts{{{CARD}}}": steady(400),
        },
    ),
    Case(
        "LlmagentGpuPowerLimitGivenUp",
        {f'llmagent_gpu_power_limit_state{{{CARD},state="blocked"}}': steady(1)},
        {
            f'llmagent_gpu_power_limit_state{{{CARD},state="in-force"}}': steady(1),
            f'llmagent_gpu_power_limit_state{{{CARD},state="blocked"}}': steady(0),
        },
    ),
    Case(
        "LlmagentGpuPowerLimitFought",
        {f'llmagent_gpu_power_limit_reasserts_total{{{CARD},cause="foreign"}}': "0+1x5 5x90"},
        {f'llmagent_gpu_power_limit_reasserts_total{{{CARD},cause="driver_reload"}}': "0+1x5 5x90"},
    ),
    Case(
        "LlmagentGpuPowerImpossible",
        {
            f'llmagent_gpu_power_watts{{{CARD},window="instant"}}': steady(588),
            f'{LIMIT}{{{CARD},kind="max"}}': steady(35),
        },
        {
            f'llmagent_gpu_power_watts{{{CARD},window="instant"}}': steady(50),
            f'{LIMIT}{{{CARD},kind="max"}}': steady(35),
        },
    ),
    one("LlmagentGpuHiddenThrottle", "llmagent_gpu_hidden_throttle", CARD, "1x90", "0x90"),
    one("LlmagentGpuRowRemapPending", "llmagent_gpu_row_remap_pending", CARD, "1x90", "0x90"),
    one("LlmagentGpuRowRemapPending", "llmagent_gpu_retired_pages_pending", CARD, "1x90", "0x90"),
    one("LlmagentGpuRowRemapFailed", "llmagent_gpu_row_remap_failed", CARD, "1x90", "0x90"),
    Case(
        "LlmagentGpuEccUncorrected",
        {
            f'llmagent_gpu_ecc_errors_total{{{CARD},severity="uncorrected",scope="volatile"}}': (
                "0x10 1x90"
            )
        },
        {
            f'llmagent_gpu_ecc_errors_total{{{CARD},severity="corrected",scope="volatile"}}': (
                "0x10 1x90"
            ),
            f'llmagent_gpu_ecc_errors_total{{{CARD},severity="uncorrected",scope="aggregate"}}': (
                "0x10 1x90"
            ),
        },
    ),
    one(
        "LlmagentGpuSampleStale",
        "llmagent_gpu_last_sample_timestamp_seconds",
        CARD,
        steady(600),
        rising(60),
    ),
    one("LlmagentGpuPersistenceOff", "llmagent_gpu_persistence_mode", CARD, "0x90", "1x90", 70),
    Case(
        "LlmagentHostMemoryLow",
        {
            f"llmagent_host_memory_available_bytes{{{HOST}}}": steady(1),
            f"llmagent_host_memory_total_bytes{{{HOST}}}": steady(64),
        },
        {
            f"llmagent_host_memory_available_bytes{{{HOST}}}": steady(8),
            f"llmagent_host_memory_total_bytes{{{HOST}}}": steady(64),
        },
    ),
    Case(
        "LlmagentHostDiskFull",
        {
            f'llmagent_host_disk_free_bytes{{{HOST},path="/x"}}': steady(1),
            f'llmagent_host_disk_size_bytes{{{HOST},path="/x"}}': steady(100),
        },
        {
            f'llmagent_host_disk_free_bytes{{{HOST},path="/x"}}': steady(10),
            f'llmagent_host_disk_size_bytes{{{HOST},path="/x"}}': steady(100),
        },
    ),
    Case(
        "LlmagentServiceFilesNearLimit",
        {
            f"llmagent_host_service_open_fds{{{SERVICE}}}": steady(900),
            f"llmagent_host_service_max_fds{{{SERVICE}}}": steady(1024),
        },
        {
            f"llmagent_host_service_open_fds{{{SERVICE}}}": steady(100),
            f"llmagent_host_service_max_fds{{{SERVICE}}}": steady(1024),
        },
    ),
)


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def promtool_test(cases: Sequence[Case]) -> dict[str, Any]:
    """Returns all cases as one test: each on a host of its own, once as it fires, once quiet."""
    series: dict[str, str] = {}
    looks: list[dict[str, Any]] = []
    for number, case in enumerate(cases):
        for what, values in (("fires", case.firing), ("is quiet", case.quiet)):
            host = f"case {number}, {case.alert} {what}"
            series |= {name.replace(INSTANCE, host): text for name, text in values.items()}
            found = [{"labels": f'{{alertname="{case.alert}"}}', "value": 1}]
            looks.append(
                {
                    "expr": (
                        f'group by (alertname) (ALERTS{{alertstate="firing",instance="{host}"}})'
                    ),
                    "eval_time": f"{case.at}m",
                    "exp_samples": found if what == "fires" else [],
                }
            )
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": looks,
    }


def promtool(
    tests: list[dict[str, Any]], directory: Path, *files: Path
) -> subprocess.CompletedProcess[str]:
    """Runs tests of the rules in these files, or in those about one host."""
    file = directory / "tests.yml"
    file.write_text(
        yaml.safe_dump(
            {
                "rule_files": [str(rules) for rules in files or (RULES,)],
                "evaluation_interval": "1m",
                "tests": tests,
            },
            width=1000,
        )
    )
    return subprocess.run(
        ["promtool", "test", "rules", str(file)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_promtool_finds_the_rules_sound() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", str(RULES)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_comes_when_it_should_and_at_no_other_time(tmp_path: Path) -> None:
    done = promtool([promtool_test(CASES)], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_rule_that_never_fires_would_be_noticed(tmp_path: Path) -> None:
    never = one("LlmagentServiceHeld", "llmagent_service_held", SERVICE, "0x90", "0x90")
    always = one("LlmagentServiceHeld", "llmagent_service_held", SERVICE, "1x90", "1x90")
    for wrong in (never, always):
        assert promtool([promtool_test([wrong])], tmp_path).returncode != 0


def test_every_alert_is_tested() -> None:
    assert {case.alert for case in CASES} == alerts().keys()


def test_every_alert_says_how_bad_what_and_what_to_do() -> None:
    for name, rule in alerts().items():
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), name
        annotations = rule["annotations"]
        assert annotations.keys() == {"summary", "description", "runbook", "runbook_url"}, name
        assert annotations["runbook"] == f"man llmagent-alerts, {name}"
        assert annotations["runbook_url"].endswith(f"/llmagent-alerts.7.html#{name}")


def test_every_alert_has_the_labels_that_messages_are_grouped_and_routed_by() -> None:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                component = group["name"].removeprefix("llmagent-")
                assert rule["labels"].keys() == {"severity", "component"}, rule["alert"]
                if rule["alert"] != "LlmagentServiceFilesNearLimit":
                    assert rule["labels"]["component"] == component


def labelled(case: Case) -> str:
    """Returns the label, beside those of the host, that says what the alert is about."""
    return (
        "gpu"
        if "gpu=" in "".join(case.firing)
        else "service"
        if SERVICE in "".join(case.firing)
        else "instance"
    )


def test_every_alert_names_the_host_and_what_it_is_about(tmp_path: Path) -> None:
    tests = []
    for case in CASES:
        about = labelled(case)
        look = f'count(ALERTS{{alertstate="firing",alertname="{case.alert}",job="llmagent",'
        look += f'instance="{INSTANCE}",{about}!=""}})'
        tests.append(
            {
                "interval": "1m",
                "input_series": [
                    {"series": series, "values": values} for series, values in case.firing.items()
                ],
                "promql_expr_test": [
                    {
                        "expr": f"{look} > bool 0",
                        "eval_time": f"{case.at}m",
                        "exp_samples": [{"labels": "{}", "value": 1}],
                    }
                ],
            }
        )
    done = promtool(tests, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, "http://a:9836/manual"),
        ({"llmagent_manual": "https://wiki.example/x"}, "https://wiki.example/x"),
    ],
)
def test_the_runbook_is_on_the_host_itself_or_where_prometheus_is_told(
    tmp_path: Path, given: dict[str, str], wanted: str
) -> None:
    rule = alerts()["LlmagentServiceHeld"]
    fixed = {name: text for name, text in rule["annotations"].items() if name != "runbook_url"}
    fixed["summary"] = "vllm on a:9836 is held"
    labels = {"job": "llmagent", "instance": INSTANCE, "service": "vllm", **rule["labels"]}
    test = {
        "interval": "1m",
        "external_labels": given,
        "input_series": [{"series": f"llmagent_service_held{{{SERVICE}}}", "values": "1x10"}],
        "alert_rule_test": [
            {
                "eval_time": "5m",
                "alertname": "LlmagentServiceHeld",
                "exp_alerts": [
                    {
                        "exp_labels": labels,
                        "exp_annotations": {
                            **fixed,
                            "runbook_url": f"{wanted}/llmagent-alerts.7.html#LlmagentServiceHeld",
                        },
                    }
                ],
            }
        ],
    }
    done = promtool([test], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_manual_says_what_to_do_about_each_alert() -> None:
    entries = re.findall(r"(?m)^\.It Sy (\w+)\n(.+)$", MANUAL.read_text())
    assert [name for name, _ in entries] == list(alerts())


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_every_series_that_a_rule_needs_is_one_of_the_exporter(rule: dict[str, Any]) -> None:
    assert "llmagent_" in rule["expr"] or rule["alert"] == "LlmagentDown"
    assert selected_nothing(rule["expr"]) == []


def test_a_misspelt_metric_or_label_would_be_noticed() -> None:
    assert selected_nothing("llmagent_service_heldd == 1")
    assert selected_nothing('rate(llmagent_gpu_clock_event_seconds_total{reason="hw_termal"}[5m])')
    assert not selected_nothing("llmagent_service_held == 1")


def test_the_rates_that_are_recorded_are_those_of_the_series(tmp_path: Path) -> None:
    series = {
        f"llmagent_service_generation_tokens_total{{{SERVICE}}}": rising(600),
        f"llmagent_gpu_energy_joules_total{{{CARD}}}": rising(6000),
        f'llmagent_gpu_memory_bytes{{{CARD},state="used"}}': steady(3),
        f'llmagent_gpu_memory_bytes{{{CARD},state="total"}}': steady(4),
    }
    wanted = {
        "service:llmagent_generation_tokens:rate5m": (f"{{{SERVICE}}}", 10),
        "instance:llmagent_gpu_joules_per_token:ratio5m": (f"{{{HOST}}}", 10),
        "gpu:llmagent_gpu_memory_used:ratio": (f"{{{CARD}}}", 0.75),
    }
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": name,
                "eval_time": "20m",
                "exp_samples": [{"labels": name + labels, "value": value}],
            }
            for name, (labels, value) in wanted.items()
        ],
    }
    done = promtool([test], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
