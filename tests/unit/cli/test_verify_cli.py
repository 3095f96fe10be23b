# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.cli import verify
from agent.cli.verify import VerifyReport, as_json, as_text, render_table
from agent.core.verify.check import Check, Verdict
from agent.errors import DaemonAwayError, UsageError
from tests.given.fake_http import FakeServer, says, serving
from tests.given.some_snapshot import CHECKS

PROVEN, CONTRADICTED, UNKNOWN = CHECKS
REPORT = VerifyReport(
    "vllm", "vllm.service", "http://127.0.0.1:8000", answered=True, checks=(PROVEN,)
)


def test_the_table_shows_each_item_with_its_evidence_and_note() -> None:
    assert render_table(CHECKS, colour=False).splitlines() == [
        "VERDICT       ITEM                ASKED   GOT",
        "proven        quantization        awq     auto_awq",
        "              | quantization=auto_awq",
        "contradicted  linear_kernel       marlin  CPUWNA16LinearKernel",
        "              | Using CPUWNA16LinearKernel for AutoAWQMarlinLinearMethod",
        "              not proven: kernel is CPUWNA16LinearKernel",
        "unknown       kv_bytes_per_token  fp8     not known",
        "              the model's config.json was not read",
    ]


def test_colour_paints_the_verdict_only() -> None:
    [_, row, *_] = render_table((PROVEN,), colour=True).splitlines()
    assert row == "\x1b[32mproven\x1b[0m   quantization  awq    auto_awq"


def test_a_long_line_of_evidence_is_shortened() -> None:
    check = replace(PROVEN, evidence="x" * 1000)
    assert max(len(line) for line in render_table((check,), colour=False).splitlines()) < 180


def test_unknown_is_never_a_pass() -> None:
    assert REPORT.verified
    report = replace(REPORT, checks=(PROVEN, UNKNOWN))
    assert not report.verified
    last = as_text(report, colour=False).splitlines()[-1]
    assert last == "not verified: 1 proven, 0 contradicted, 1 unknown"


def test_one_contradiction_or_a_silent_model_is_not_verified() -> None:
    assert not replace(REPORT, checks=CHECKS).verified
    silent = replace(REPORT, answered=False)
    assert not silent.verified
    assert "not verified: the model answers no request" in as_text(silent, colour=False)


def test_a_setting_that_waits_for_the_next_start_is_named() -> None:
    report = replace(REPORT, pending=("max_model_len",))
    assert "max_model_len: in force at the next start" in as_text(report, colour=False)


def test_the_json_has_every_part_of_every_check() -> None:
    document = json.loads(as_json([replace(REPORT, checks=CHECKS)]))
    service = document["services"]["vllm"]
    assert (service["answered"], service["verified"]) == (True, False)
    assert [Check(**{**one, "verdict": Verdict(one["verdict"])}) for one in service["checks"]] == [
        *CHECKS
    ]


CONFIG = """\
[service.vllm]
model = "/srv/models/llama"
max_model_len = 1024
gpu_memory_utilization = 0.95
"""


@pytest.fixture
def server() -> Iterator[FakeServer]:
    model = {"id": "/srv/models/llama", "root": "/srv/models/llama", "max_model_len": 1024}
    answer = {
        "choices": [{"text": " Paris", "finish_reason": "length"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 16},
    }
    metrics = (
        "vllm:num_requests_running 0\n"
        'vllm:cache_config_info{gpu_memory_utilization="0.86",block_size="16"} 1\n'
    )
    with serving() as fake:
        fake.replies["GET /v1/models"] = says(json.dumps({"data": [model]}))
        fake.replies["POST /v1/completions"] = says(json.dumps(answer))
        fake.replies["GET /metrics"] = says(metrics, kind="text/plain")
        yield fake


def asked(tmp_path: Path, service: str | None = None) -> argparse.Namespace:
    (tmp_path / "agent.toml").write_text(CONFIG)
    return argparse.Namespace(
        service=service,
        config=tmp_path / "agent.toml",
        format="json",
        file=tmp_path / "status.json",
    )


def write_status(tmp_path: Path, url: str) -> None:
    learned = {"gpu_memory_utilization": {"asked": 0.95, "running": 0.86}}
    # Without a run's id there is no journal to read.
    view = {"url": url, "invocation_id": "", "overrides": learned, "pending_restart": []}
    status = {"at_seconds": time.time(), "services": {"vllm": view}}
    (tmp_path / "status.json").write_text(json.dumps(status))


def test_a_live_service_is_verified_with_its_learned_settings(
    tmp_path: Path, server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    write_status(tmp_path, server.url)
    assert verify.run(asked(tmp_path)) == 0
    checks = json.loads(capsys.readouterr().out)["services"]["vllm"]["checks"]
    [utilization] = [check for check in checks if check["item"] == "gpu_memory_utilization"]
    assert utilization["verdict"] == "proven"
    assert utilization["note"] == "asked 0.95, running 0.86: learned"


def test_a_host_that_serves_nothing_is_not_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = asked(tmp_path)
    arguments.config.write_text("")
    arguments.format = "human"
    (tmp_path / "status.json").write_text(json.dumps({"at_seconds": time.time(), "services": {}}))
    assert verify.run(arguments) == 1
    assert capsys.readouterr().out == "not verified: no service is configured\n"


def test_a_contradiction_or_a_silent_service_is_exit_status_1(
    tmp_path: Path, server: FakeServer
) -> None:
    write_status(tmp_path, server.url)
    other = {"id": "/srv/models/llama", "max_model_len": 512}
    server.replies["GET /v1/models"] = says(json.dumps({"data": [other]}))
    assert verify.run(asked(tmp_path)) == 1
    server.replies["POST /v1/completions"] = says("", 500)
    assert verify.run(asked(tmp_path)) == 1


def test_without_a_daemon_the_error_is_that_of_a_daemon_away(tmp_path: Path) -> None:
    with pytest.raises(DaemonAwayError) as raised:
        verify.run(asked(tmp_path))
    assert raised.value.exit_status == 3


def test_a_service_that_is_not_configured_is_a_mistake_of_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match='there is no service "embed"; configured: vllm'):
        verify.run(asked(tmp_path, "embed"))
