# SPDX-License-Identifier: Apache-2.0
"""The commands that steer, and what the screens say of what they asked for."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from agent.cli import status, why
from agent.cli.main import main
from agent.cli.screen.headline import headline
from agent.cli.screen.paused import remind_of_a_pause
from agent.cli.steering.asking import a_time_of_day, seconds_until
from agent.core.state.steering.requests import (
    AskDrain,
    AskPause,
    AskRestart,
    AskResume,
    Request,
)
from agent.core.view.snapshot import (
    Snapshot,
    to_json,
)
from agent.core.view.wishes import AskedView, NotifyView, PauseView
from tests.given.some_snapshot import SERVING, SNAPSHOT
from tests.given.steering.control_socket import Answering


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Answering]:
    daemon = Answering(tmp_path / "control.sock")
    yield daemon
    daemon.close()


@pytest.mark.parametrize(
    ("words", "request_"),
    [
        ("pause --for 30min", AskPause("", 1800.0)),
        ("pause vllm", AskPause("vllm", 7200.0)),
        ("resume", AskResume("")),
        ("restart vllm", AskRestart("vllm")),
        ("restart vllm --when-idle", AskRestart("vllm", when_idle=True)),
        (
            "restart vllm --at 03:00 --every day",
            AskRestart("vllm", time_of_day=10800.0, every_day=True),
        ),
        ("restart vllm --cancel", AskRestart("vllm", cancel=True)),
        ("drain vllm --for 90s", AskDrain("vllm", 90.0)),
    ],
)
def test_a_command_asks_for_what_it_says(
    daemon: Answering, words: str, request_: Request, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words.split(), "--socket", str(daemon.path)]) == 0
    assert daemon.asked.get_nowait().request == request_
    assert capsys.readouterr().out.endswith("it is so\n")


def test_what_is_refused_is_said_with_exit_status_1(
    daemon: Answering, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.done, daemon.message = False, "it cannot be"
    assert main(["drain", "vllm", "--socket", str(daemon.path)]) == 1
    assert capsys.readouterr().err == "llmagent drain: it cannot be\n"
    assert main(["drain", "vllm", "--format", "json", "--socket", str(daemon.path)]) == 1
    assert json.loads(capsys.readouterr().out) == {"done": False, "message": "it cannot be"}


@pytest.mark.parametrize(
    "words", ["pause --for soon", "restart vllm --at 25:00", "pause --for 2h --until 06:00"]
)
def test_a_time_that_is_none_is_a_mistake_of_the_command_line(words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2


def test_every_day_without_a_time_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["restart", "vllm", "--every", "day"]) == 2
    assert "--at 03:00" in capsys.readouterr().err


def test_without_a_daemon_the_exit_status_is_3(tmp_path: Path) -> None:
    assert main(["pause", "--socket", str(tmp_path / "control.sock")]) == 3


def test_the_next_six_in_the_morning_is_tomorrow_when_it_is_seven() -> None:
    now = datetime(2026, 11, 28, 7, 0).astimezone()
    assert seconds_until(a_time_of_day("06:00"), now) == 23 * 3600
    assert seconds_until(a_time_of_day("07:30"), now) == 1800


PAUSED = replace(
    SNAPSHOT,
    services=(
        replace(
            SERVING,
            overrides={},
            verification=(),
            paused=PauseView(1000.0, 8200.0, "alice"),
            planned_restart=AskedView("every day at 03:00", "root", 9000.0),
            drain=AskedView("stopped once no request runs or waits", "root", 9100.0),
        ),
    ),
    sources=(),
    findings=(),
)


def shown(snapshot: Snapshot, *, everything: bool) -> str:
    return status.render(to_json(snapshot), colour=False, everything=everything)


@pytest.mark.parametrize("everything", [False, True])
def test_a_pause_is_on_every_screen_with_its_end_and_who_asked(everything: bool) -> None:
    text = shown(PAUSED, everything=everything)
    assert "watched, told of, and left alone; `llmagent resume vllm` ends it" in text
    assert "by alice" in text
    assert "every day at 03:00" in text
    assert "stopped once no request runs or waits" in text
    assert "left alone" in "\n".join(why.told(to_json(PAUSED), colour=False))


def test_the_first_line_says_what_is_paused() -> None:
    line, word = headline(to_json(PAUSED))
    assert (line, word) == ("paused: vllm, where llmagent does not act", "not yet")
    whole = replace(PAUSED, paused=PauseView(1000.0, 8200.0, "root"))
    assert headline(to_json(whole))[0].startswith("paused until ")


@pytest.mark.parametrize(
    ("command", "form", "age", "reminded"),
    [
        ("doctor", "human", 0.0, True),
        ("events", "human", 0.0, True),
        ("events", "json", 0.0, False),
        ("plan", "human", 0.0, False),
        ("doctor", "human", 3600.0, False),
    ],
)
def test_other_screens_of_a_live_host_remind_of_a_pause(
    tmp_path: Path,
    command: str,
    form: str,
    age: float,
    reminded: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "status.json"
    file.write_text(json.dumps(to_json(replace(PAUSED, at_seconds=time.time() - age))))
    remind_of_a_pause(argparse.Namespace(command=command, format=form), file)
    assert ("note: paused: vllm" in capsys.readouterr().err) is reminded


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"at_seconds": "x"}', '{"at_seconds": 1e12}'])
def test_a_status_that_cannot_be_read_ends_no_command(tmp_path: Path, content: str) -> None:
    file = tmp_path / "status.json"
    file.write_text(content)
    remind_of_a_pause(argparse.Namespace(command="doctor", format="human"), file)
    remind_of_a_pause(argparse.Namespace(command="doctor", format="human"), tmp_path / "absent")


def test_what_reached_nobody_is_said_whatever_else_is_wrong() -> None:
    notify = NotifyView(1, 0.0, "1 ntfy refused it (HTTP 403)", 0, "refused it (HTTP 404)")
    text = shown(replace(SNAPSHOT, notify=notify), everything=False)
    assert "notify: 1 messages could not be sent: 1 ntfy refused it (HTTP 403)" in text
    assert "notify: the dead-man's switch was not reached: refused it (HTTP 404)" in text
