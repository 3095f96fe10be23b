# SPDX-License-Identifier: Apache-2.0
"""What journald and a terminal get of one event."""

from __future__ import annotations

import logging

import pytest

from agent.daemon.log import about, configure, log


@pytest.fixture(autouse=True)
def log_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(log, "propagate", log.propagate)
    monkeypatch.setattr(logging, "raiseExceptions", logging.raiseExceptions)


def written(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_journald_gets_the_priority_the_service_and_the_pairs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    configure()
    log.info("it serves", extra=about("vllm", kind="phase"))
    log.warning("100 % of 3 %s are slow")
    log.error("the store is full", extra=about(at=""))
    assert written(capsys) == (
        "<6>vllm: it serves kind=phase\n<4>100 % of 3 %s are slow\n<3>the store is full\n"
    )


def test_one_event_is_one_line_of_the_journal_whatever_it_holds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    configure()
    log.info("first\n<0>second\x1b[2J", extra=about("vllm"))
    said = written(capsys)
    assert said.count("\n") == 1
    assert said.startswith("<6>vllm: first / <0>second")
    assert "\x1b" not in said


def test_a_terminal_gets_the_level_as_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    configure()
    log.warning("source nvml failed", extra=about(at="nvml.py:7"))
    assert written(capsys) == "warning: source nvml failed at=nvml.py:7\n"
