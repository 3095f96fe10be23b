# SPDX-License-Identifier: Apache-2.0
"""Who guesses passwords costs a bounded number of threads, and never starves the right one."""

from __future__ import annotations

import base64
import contextlib
import http.client
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from agent.core.settings.config import Metrics
from agent.daemon.exporter.exporter import Exporter
from agent.host.web.passwords import BusyError, PasswordBook
from tests.given.some_snapshot import SNAPSHOT

FLOOD_SECONDS = 4.0
COST = 11
"""A comparison takes about 0.1 s: 500 a second are 50 times what a core can do."""
MOST_THREADS = 40

FLOOD = """
import base64, http.client, itertools, sys, threading, time
port, end = int(sys.argv[1]), time.monotonic() + float(sys.argv[2])
numbers, answers = itertools.count(), []
def guess():
    while time.monotonic() < end:
        claim = base64.b64encode(b"alice:guess%d" % next(numbers)).decode()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/metrics", headers={"Authorization": "Basic " + claim})
            answers.append(connection.getresponse().status)
            connection.close()
        except OSError:
            answers.append(0)
threads = [threading.Thread(target=guess) for _ in range(60)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(answers), 200 in answers)
"""


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(COST)).decode()
    file = tmp_path / "web.yml"
    file.write_text(f"basic_auth_users: {{alice: '{hashed}'}}\n")
    exporter = Exporter(lambda: SNAPSHOT, Metrics(port=0, web_config_file=str(file)))
    exporter.start()
    yield exporter
    exporter.close()


def scrape(port: int, password: str) -> tuple[int, float]:
    claim = base64.b64encode(f"alice:{password}".encode()).decode()
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics", headers={"Authorization": f"Basic {claim}"})
    status = connection.getresponse().status
    connection.close()
    return status, time.monotonic() - began


def test_a_flood_of_wrong_passwords_leaves_threads_bounded_and_the_right_one_answered(
    exporter: Exporter,
) -> None:
    before = threading.active_count()
    assert scrape(exporter.port, "secret")[0] == 200
    argv = [sys.executable, "-c", FLOOD, str(exporter.port), str(FLOOD_SECONDS)]
    flood = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    most, answers = 0, []
    while flood.poll() is None:
        most = max(most, threading.active_count() - before)
        answers.append(scrape(exporter.port, "secret"))
        time.sleep(0.05)
    assert flood.stdout is not None
    count, let_in = flood.communicate()[0].split()
    assert int(count) > 100
    assert let_in == "False"
    assert most <= MOST_THREADS
    assert {status for status, _ in answers} == {200}
    assert sorted(seconds for _, seconds in answers)[len(answers) // 2] < 1.0
    time.sleep(1.0)
    assert threading.active_count() - before <= 2


@pytest.mark.parametrize("address", ["10.0.0.{}", "2001:db8:0:{}::1"])
def test_guesses_from_many_addresses_keep_nobody_out_who_has_not_guessed(address: str) -> None:
    """The process has just begun: no password is known to be right yet."""
    users = {"alice": bcrypt.hashpw(b"secret", bcrypt.gensalt(6))}
    book, over = PasswordBook(), threading.Event()
    claims = {
        word: f"Basic {base64.b64encode(b'alice:' + word.encode()).decode()}"
        for word in ("secret", "wrong")
    }

    def guess(numbers: range) -> None:
        for number in itertools.cycle(numbers):
            if over.is_set():
                return
            with contextlib.suppress(BusyError):
                book.admits(claims["wrong"], users, address.format(number))

    for number in range(40):
        with contextlib.suppress(BusyError):
            book.admits(claims["wrong"], users, address.format(number))
    threads = [threading.Thread(target=guess, args=(range(n, 40, 8),)) for n in range(8)]
    for thread in threads:
        thread.start()
    try:
        assert all(book.admits(claims["secret"], users, f"192.0.2.{n}") for n in range(20))
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_one_guess_of_a_peer_waits_and_a_few_in_all() -> None:
    users = {"alice": bcrypt.hashpw(b"secret", bcrypt.gensalt(13))}
    book = PasswordBook()
    said: list[str] = []

    def guess(peer: str) -> None:
        claim = base64.b64encode(b"alice:wrong" + peer.encode()).decode()
        try:
            said.append(str(book.admits(f"Basic {claim}", users, peer)))
        except BusyError:
            said.append("busy")

    peers = [f"10.0.0.{n % 8}" for n in range(40)]
    threads = [threading.Thread(target=guess, args=(peer,)) for peer in peers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said.count("False") == 4
    assert said.count("busy") == 36
