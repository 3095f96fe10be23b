# SPDX-License-Identifier: Apache-2.0
"""Rules and examples for several hosts, as Prometheus' own tool finds them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.given.fake_http import says, serving
from tests.given.full_output import selected_nothing
from tests.project.test_rules import PHASE, promtool, rising, steady
from tests.rig.paths import REPO

RULES: Final = REPO / "etc/prometheus/llmagent-fleet.rules.yml"
SCRAPES: Final = REPO / "etc/prometheus/scrape-examples.yml"
MANUAL: Final = REPO / "packaging/man/llmagent-fleet.7"
JOB: Final = "llmagent-rack-7"
CLUSTER: Final = "llmagent_service_cluster"


def on(host: int, *more: str) -> str:
    """Returns the labels of a series of a host."""
    return "{" + ",".join([f'job="{JOB}",instance="gpu-{host}:9836"', *more]) + "}"


VLLM: Final = 'service="vllm"'
PEER: Final = 'peer="http://gpu-2:9836"'


def up(*values: str) -> dict[str, str]:
    return {f"up{on(number)}": text for number, text in enumerate(values, start=1)}


def phases(*serving: str, stopped: Mapping[int, str] | None = None) -> dict[str, str]:
    """Returns the phases of a service on each host; "_" is a host that does not answer."""
    given = stopped or {}
    series = {}
    for number, text in enumerate(serving, start=1):
        series[PHASE + on(number, VLLM, 'phase="serving"')] = text
        away = re.sub(r"[01](?=x)", "0", text)
        series[PHASE + on(number, VLLM, 'phase="stopped"')] = given.get(number, away)
    return series


def versions(*words: str) -> dict[str, str]:
    told = {number: f'version="{word}"' for number, word in enumerate(words, start=1)}
    return {f"llmagent_build_info{on(number, it)}": steady(1, 2000) for number, it in told.items()}


def generations(own: str, theirs: str, heard: str) -> dict[str, str]:
    """Returns what the first host says of itself and of the second."""
    return {
        f"{CLUSTER}_generation{on(1, VLLM)}": own,
        f"{CLUSTER}_peer_generation{on(1, VLLM, PEER)}": theirs,
        f"{CLUSTER}_peer_up{on(1, VLLM, PEER)}": heard,
    }


@dataclass(frozen=True)
class Case:
    """Series that make an alert, and series that do not; `at` is when it is looked, in minutes."""

    alert: str
    firing: dict[str, str]
    quiet: dict[str, str]
    at: int = 20


CASES: Final = (
    Case(  # two of three at once; one alone has an alert of its own
        "LlmagentFleetHostsAway",
        up(steady(1), "1x10 0x90", "1x12 0x90"),
        up(steady(1), "1x10 0x90", steady(1)),
    ),
    Case(  # of four hosts one has gone with all that it said, and one serves no more
        "LlmagentFleetServesLittle",
        phases(steady(1), steady(1), "1x5 _x90", "1x5 0x90"),
        phases(steady(1), steady(1), steady(1), "1x5 0x90"),
        at=30,
    ),
    Case(  # what somebody has stopped is not missed
        "LlmagentFleetServesLittle",
        phases(steady(0)),
        phases(steady(1), steady(0), stopped={2: steady(1)}),
    ),
    Case(
        "LlmagentFleetVersionsDiffer",
        versions("0.2.0", "0.1.0"),
        versions("0.2.0", "0.2.0"),
        at=1500,
    ),
    Case(
        "LlmagentGroupHostAway",
        {f"{CLUSTER}_peer_up{on(1, VLLM, PEER)}": "1x10 0x90"},
        {f"{CLUSTER}_peer_up{on(1, VLLM, PEER)}": "1x10 0x3 1x90"},
    ),
    Case(  # the other one follows within minutes
        "LlmagentGroupGenerationsDiffer",
        generations("4x5 5x90", steady(4), steady(1)),
        generations("4x5 5x90", "4x8 5x90", steady(1)),
    ),
    Case(  # of one that is not heard the last word is old: another alert tells that
        "LlmagentGroupGenerationsDiffer",
        generations(steady(3), steady(4), steady(1)),
        generations("4x5 5x90", steady(4), steady(0)),
    ),
    Case(
        "LlmagentGroupStartsAgain",
        {f"{CLUSTER}_generation{on(1, VLLM)}": rising(1)},
        {f"{CLUSTER}_generation{on(1, VLLM)}": "1x5 2x5 3x90"},
    ),
)


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def looked(case: Case, *, fires: bool) -> dict[str, Any]:
    series = case.firing if fires else case.quiet
    names = [{"labels": f'{{alertname="{case.alert}"}}', "value": 1}]
    firing = f'ALERTS{{alertstate="firing",alertname="{case.alert}"}}'
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f"group by (alertname) ({firing})",
                "eval_time": f"{case.at}m",
                "exp_samples": names if fires else [],
            }
        ],
    }


def test_each_alert_comes_when_it_should_and_at_no_other_time(tmp_path: Path) -> None:
    assert {case.alert for case in CASES} == alerts().keys()
    tests = [looked(case, fires=fires) for case in CASES for fires in (True, False)]
    done = promtool(tests, tmp_path, RULES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_case_that_shows_nothing_would_be_noticed(tmp_path: Path) -> None:
    for case in CASES:
        turned = Case(case.alert, case.quiet, case.firing, case.at)
        done = promtool([looked(turned, fires=True)], tmp_path, RULES)
        assert done.returncode != 0, case.alert


def test_what_is_recorded_of_a_fleet(tmp_path: Path) -> None:
    series = {
        **up(steady(1), steady(1), "1x10 0x90"),
        **phases(steady(1), steady(0), "1x10 _x90"),
        f"llmagent_service_generation_tokens_total{on(1, VLLM)}": rising(600),
        f"llmagent_service_generation_tokens_total{on(2, VLLM)}": rising(1200),
        f"llmagent_gpu_energy_joules_total{on(1)}": rising(9000),
        "llmagent_gpu_power_watts" + on(1, 'window="average"'): steady(300),
        "llmagent_gpu_power_watts" + on(2, 'window="average"'): steady(200),
    }
    wanted = {
        "job:llmagent_hosts:count": 3,
        "job:llmagent_hosts_away:count": 1,
        "job:llmagent_services_wanted:count": 3,
        "job:llmagent_services_serving:count": 1,
        "job:llmagent_services_serving:ratio": 1 / 3,
        "job:llmagent_generation_tokens:rate5m": 30,
        "job:llmagent_gpu_power_watts:sum": 500,
        "job:llmagent_gpu_joules_per_token:ratio5m": 5,
    }
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": name,
                "eval_time": "20m",
                "exp_samples": [{"labels": f'{name}{{job="{JOB}"}}', "value": value}],
            }
            for name, value in wanted.items()
        ],
    }
    done = promtool([test], tmp_path, RULES)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {rule["record"] for rule in rules() if "record" in rule} == wanted.keys()


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_every_series_that_a_rule_needs_is_one_of_the_exporter(rule: dict[str, Any]) -> None:
    asked = re.sub(r"job:\w+:\w+", "", rule["expr"])
    assert selected_nothing(asked) == []


def test_the_manual_says_what_to_do_about_each_alert() -> None:
    entries = re.findall(r"(?m)^\.It Sy (\w+)\n(.+)$", MANUAL.read_text())
    assert [name for name, _ in entries] == list(alerts())
    for name, rule in alerts().items():
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), name
        assert rule["annotations"]["runbook"] == f"man llmagent-fleet, {name}"
        assert f"/llmagent-fleet.7.html#{name}" in rule["annotations"]["runbook_url"]


def examples() -> list[dict[str, Any]]:
    jobs: list[dict[str, Any]] = yaml.safe_load(SCRAPES.read_text())["scrape_configs"]
    return jobs


def test_the_examples_are_valid_and_their_jobs_are_those_that_the_rules_look_for() -> None:
    done = subprocess.run(
        ["promtool", "check", "config", "--syntax-only", SCRAPES],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [job["job_name"] for job in examples() if job["job_name"][:8] != "llmagent"] == []


def test_prometheus_finds_hosts_in_the_files_form_and_over_http(tmp_path: Path) -> None:
    """What the comment in the examples shows is what both ways take."""
    shown = re.search(r"(?m)^  # (\[\{.*\}\])$", SCRAPES.read_text())
    assert shown is not None
    (tmp_path / "hosts.json").write_text(shown[1])
    with serving() as inventory:
        inventory.replies["GET /hosts"] = says(shown[1])
        jobs = {job["job_name"]: job for job in examples()}
        jobs["llmagent-file"]["file_sd_configs"][0]["files"] = [str(tmp_path / "hosts.json")]
        jobs["llmagent-http"]["http_sd_configs"][0]["url"] = f"{inventory.url}/hosts"
        file = tmp_path / "prometheus.yml"
        for name in ("llmagent-file", "llmagent-http"):
            file.write_text(yaml.safe_dump({"scrape_configs": [jobs[name]]}))
            argv = ["promtool", "check", "service-discovery", "--timeout=3s", str(file), name]
            done = subprocess.run(argv, check=False, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
            (found,) = json.loads(done.stdout)
            assert found["labels"]["instance"] == "gpu-01:9836"
            assert found["labels"]["rack"] == "r7"
