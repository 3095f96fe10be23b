# SPDX-License-Identifier: Apache-2.0
"""What systemd hears from the agent."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.host.systemd import notify


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Returns the end of NOTIFY_SOCKET at which systemd would listen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


def test_readiness_comes_with_one_line_of_status(systemd: socket.socket) -> None:
    assert notify.ready("2 services,\n1 ready")
    assert systemd.recv(999) == b"READY=1\nSTATUS=2 services, 1 ready"


def test_each_message_has_systemds_word_for_it(systemd: socket.socket) -> None:
    assert notify.status("waiting")
    assert systemd.recv(999) == b"STATUS=waiting"
    assert notify.watchdog()
    assert systemd.recv(999) == b"WATCHDOG=1"
    assert notify.stopping()
    assert systemd.recv(999) == b"STOPPING=1"
    assert notify.reloading()
    reloading, when = systemd.recv(999).split(b"\n")
    assert reloading == b"RELOADING=1"
    assert when.removeprefix(b"MONOTONIC_USEC=").isdigit()


def test_without_systemd_nothing_is_sent_and_nothing_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify.ready("alone")
    assert not notify.watchdog()


def test_a_systemd_that_went_away_is_no_error(systemd: socket.socket, tmp_path: Path) -> None:
    systemd.close()
    (tmp_path / "notify").unlink()
    assert not notify.watchdog()


def test_the_watchdogs_interval_is_ours_only_if_it_names_our_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    assert notify.watchdog_interval_seconds() is None
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    assert notify.watchdog_interval_seconds() == 60
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert notify.watchdog_interval_seconds() == 60
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid() + 1))
    assert notify.watchdog_interval_seconds() is None
