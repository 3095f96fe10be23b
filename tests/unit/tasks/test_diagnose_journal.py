# SPDX-License-Identifier: Apache-2.0
"""The journal of a night holds several runs: each is told, the failures first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.cli.main import main
from agent.core.failures.classes import FailureClass, Outcome
from agent.errors import HostLacksError
from agent.host.data.signatures import load_signatures
from agent.tasks.diagnose_journal import diagnose_journal, runs_in

OOM = [
    "(APIServer pid=1) INFO 11-20 10:00:01 [api_server.py:1851] vLLM API server version 0.24.0",
    "ValueError: No available memory for the cache blocks. Try increasing "
    "`gpu_memory_utilization` when initializing the engine.",
]
SERVED = [
    "(APIServer pid=1) INFO 11-20 10:05:01 [api_server.py:1851] vLLM API server version 0.24.0",
    "INFO:     Application startup complete.",
]


def entries(run: str, at: int, lines: list[str]) -> list[bytes]:
    of_the_run = [{"MESSAGE": line, "_SYSTEMD_INVOCATION_ID": run, "_PID": "77"} for line in lines]
    manager = {"MESSAGE": "Started vllm.service.", "INVOCATION_ID": run, "_PID": "1"}
    stamped = [{**row, "__REALTIME_TIMESTAMP": str(at * 10**6)} for row in [manager, *of_the_run]]
    return [json.dumps(row).encode() for row in stamped]


def test_each_run_is_judged_by_itself() -> None:
    lines = [*entries("aa", 100, OOM), b"no json", *entries("bb", 400, SERVED)]
    first, second = runs_in(lines, load_signatures())
    assert (first.began, first.diagnosis.failure) == (100.0, FailureClass.OOM_KV_NONE)
    assert (second.began, second.diagnosis.outcome) == (400.0, Outcome.READY)


def journalctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[bytes]) -> None:
    """Puts a journalctl that prints these lines first on the PATH."""
    (tmp_path / "lines").write_bytes(b"\n".join(lines) + b"\n")
    program = tmp_path / "journalctl"
    program.write_text(f"#!/bin/sh\nexec cat {tmp_path}/lines\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


def test_of_a_service_the_failures_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    journalctl(tmp_path, monkeypatch, entries("aa", 100, OOM) + entries("bb", 400, SERVED))
    monkeypatch.chdir(tmp_path)
    assert main(["diagnose", "vllm"]) == 0
    text = capsys.readouterr().out
    assert text.index("oom-kv-none") < text.index("ready (phase serving)")
    assert text.count("vllm.service, run of ") == 2
    assert main(["diagnose", "vllm.service", "--format", "json"]) == 0
    shape = json.loads(capsys.readouterr().out)
    assert shape["class"] == "oom-kv-none"
    assert [run["outcome"] for run in shape["runs"]] == ["failed", "ready"]


def test_a_service_that_never_ran_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    journalctl(tmp_path, monkeypatch, [])
    monkeypatch.chdir(tmp_path)
    assert main(["diagnose", "chat"]) == 2
    assert "the journal has no line of chat.service" in capsys.readouterr().err


def test_without_journalctl_a_log_can_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostLacksError, match="name a log file instead"):
        diagnose_journal("vllm.service", load_signatures())
