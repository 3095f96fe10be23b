# SPDX-License-Identifier: Apache-2.0
"""The control socket, with real sockets: both ends, and clients that do not behave."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.core.state.steering.asked import LONGEST_REQUEST
from agent.core.state.steering.requests import (
    AskPause,
)
from agent.errors import DaemonAwayError
from agent.host.control.client import Said, ask
from agent.host.control.listener import groups_of
from tests.given.steering.control_socket import Answering

PAUSE = {"do": "pause", "service": "vllm", "seconds": 60}


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Answering]:
    agent = Answering(tmp_path / "control.sock")
    yield agent
    agent.close()
    assert not agent.path.exists()


def test_a_request_is_decided_and_its_answer_comes_back(agent: Answering) -> None:
    assert ask(agent.path, PAUSE) == Said(done=True, message="it is so")
    heard = agent.asked.get_nowait()
    assert heard.request == AskPause("vllm", 60.0)
    assert heard.by
    assert 0 <= heard.local_seconds < 86400


def test_what_is_not_recorded_is_acknowledged_with_that_word(agent: Answering) -> None:
    agent.unrecorded = "the disk is full"
    assert ask(agent.path, PAUSE).message == (
        "it is so. It is lost when llmagent ends: the disk is full"
    )


def test_only_its_owner_and_its_group_can_connect(agent: Answering) -> None:
    assert agent.path.stat().st_mode & 0o777 in (0o600, 0o660)


def test_a_bad_request_is_answered_and_decides_nothing(agent: Answering) -> None:
    said = ask(agent.path, {"do": "halt"})
    assert not said.done
    assert "known: pause" in said.message
    assert agent.asked.empty()


def raw(path: Path, content: bytes, *, hang_up: bool) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(10)
        client.connect(str(path))
        try:
            client.sendall(content)
            if hang_up:
                client.shutdown(socket.SHUT_WR)
            return client.recv(4096)
        except OSError:
            return b""


@pytest.mark.parametrize(
    "content", [b"", b"no end of line", b"x" * (LONGEST_REQUEST * 3), b"\xff\xfe\n", b"{}\n\n\n"]
)
def test_a_client_that_misbehaves_is_told_and_the_next_is_served(
    agent: Answering, content: bytes
) -> None:
    raw(agent.path, content, hang_up=True)
    assert ask(agent.path, PAUSE).done
    assert agent.thread.health.up


def test_a_silent_client_keeps_the_next_waiting_for_seconds_only(
    agent: Answering,
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.connect(str(agent.path))
        said: list[Said] = []
        other = threading.Thread(target=lambda: said.append(ask(agent.path, PAUSE)))
        other.start()
        other.join(30)
        assert said
        assert said[0].done


def test_nobody_at_the_other_end_is_a_daemon_that_is_away(tmp_path: Path) -> None:
    with pytest.raises(DaemonAwayError, match="systemctl start llmagent"):
        ask(tmp_path / "control.sock", PAUSE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left_behind:
        left_behind.bind(str(tmp_path / "control.sock"))
    with pytest.raises(DaemonAwayError, match="systemctl start llmagent"):
        ask(tmp_path / "control.sock", PAUSE)


def test_the_socket_of_a_process_that_was_killed_is_taken_over(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left_behind:
        left_behind.bind(str(tmp_path / "control.sock"))
    agent = Answering(tmp_path / "control.sock")
    assert ask(agent.path, PAUSE).done
    agent.close()


def test_the_groups_of_who_has_connected_are_the_kernels_word() -> None:
    here, there = socket.socketpair()
    with here, there:
        assert sorted(groups_of(here)) == sorted(os.getgroups())
