# SPDX-License-Identifier: Apache-2.0
"""What the status page says of other hosts: the program that asks, and how often it is asked."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.cli.fleet.__main__ import document
from agent.cli.fleet.table import row_of
from agent.core.settings.hosts import Host
from agent.daemon.exporter.fleet import EVERY_SECONDS, FleetDocument
from agent.errors import AgentError
from agent.host.web.peer import LONGEST_ANSWER, MOST_VALUES
from agent.tasks.fleet.ask_hosts import Told
from tests.given.fake_http import redirects, says, serving
from tests.rig.paths import REPO
from tests.unit.cli.fleet.test_fleet import HELD, PATH, SERVES, status


def asked(*hosts: str, **files: str) -> subprocess.CompletedProcess[str]:
    told = {"hosts": hosts, "user": "", "password_file": "", "ca_file": "", **files}
    return subprocess.run(
        [sys.executable, "-m", "agent.cli.fleet"],
        check=False,
        input=json.dumps(told),
        capture_output=True,
        text=True,
        cwd=REPO,
    )


def test_the_program_prints_what_needs_a_person_first_and_sends_the_password(
    tmp_path: Path,
) -> None:
    seen: list[str] = []
    (tmp_path / "password").write_text("pass word\n")
    with serving() as well, serving() as held:
        held.replies[PATH] = says(status(HELD))

        def take(handler: Any, body: bytes) -> None:
            seen.append(handler.headers["Authorization"])
            says(status(SERVES))(handler, body)

        well.replies[PATH] = take
        password = str(tmp_path / "password")
        done = asked(well.url, held.url, user="fleet", password_file=password)
    told = json.loads(done.stdout)
    assert told["summary"] == "2 hosts: 1 needs you, 1 is well"
    assert [host["address"] for host in told["hosts"]] == [held.url, well.url]
    assert [host["level"] for host in told["hosts"]] == ["wrong", "well"]
    assert "to do: mend it" in told["hosts"][0]["more"]
    assert seen == ["Basic " + base64.b64encode(b"fleet:pass word").decode()]


def test_a_mistake_is_one_sentence(tmp_path: Path) -> None:
    done = asked("gpu-01", ca_file=str(tmp_path / "none.pem"))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "no certificates can be read" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_whatever_a_hundred_hosts_say_the_page_gets_half_a_megabyte_of_plain_lines() -> None:
    long = "\x1b[2J" + "<b>" * 5000
    services = [
        replace(HELD, name=f"s{n}", reason=long, held=replace(HELD.held, what_to_do=long))  # type: ignore[type-var]
        for n in range(40)
    ]
    said = json.loads(status(*services))
    hosts = [Host(f"gpu-{n}", f"http://gpu-{n}:9836") for n in range(100)]
    rows = [row_of(Told(host, said)) for host in hosts]
    text = json.dumps(document(hosts, rows, 0.0))
    assert len(text) < 512 << 10
    assert "\\u001b" not in text


MEASURED = """
from agent.cli.fleet.__main__ import main
main()
# Not ru_maxrss: that begins with what the process that started this one had.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def test_forty_that_answer_with_all_that_is_allowed_take_the_memory_of_their_answers() -> None:
    # What Python makes of it is much larger: four bytes a letter, 56 for each empty list.
    most = LONGEST_ANSWER - 200_000 >> 1
    worst = {
        **json.loads(status(SERVES)),
        "lists": [[]] * (MOST_VALUES // 2 - 1000),
        "text": ["\N{GRINNING FACE}" + "y" * most] * 2,
    }
    answer = says(json.dumps(worst, ensure_ascii=False))
    with serving() as server:
        server.replies = {f"GET /{n}/status.json": answer for n in range(40)}
        told = {"hosts": [f"{server.url}/{n}" for n in range(40)], "user": ""}
        done = subprocess.run(
            [sys.executable, "-c", MEASURED],
            check=True,
            input=json.dumps({**told, "password_file": "", "ca_file": ""}),
            capture_output=True,
            text=True,
            cwd=REPO,
        )
    shown, peak = done.stdout.splitlines()
    assert "well" in {host["level"] for host in json.loads(shown)["hosts"]}, shown
    assert int(peak) << 10 < 40 * LONGEST_ANSWER + (80 << 20)


class Asked:
    """Stands where the program is asked; its clock is a number."""

    def __init__(self) -> None:
        self.times = 0
        self.now = 100.0
        self.fails = False

    def ask(self) -> bytes:
        self.times += 1
        if self.fails:
            raise AgentError("no answer within 8 s")
        return b"%d" % self.times


def test_hosts_are_asked_only_when_somebody_looks_and_at_most_every_15_seconds() -> None:
    given = Asked()
    fleet = FleetDocument(given.ask, lambda: given.now)
    assert given.times == 0
    assert [fleet.latest() for _ in range(5)] == [b"1"] * 5
    given.now += EVERY_SECONDS - 1
    assert fleet.latest() == b"1"
    given.now += 1
    assert fleet.latest() == b"2"


def test_what_was_true_is_not_shown_when_nobody_can_be_asked() -> None:
    given = Asked()
    fleet = FleetDocument(given.ask, lambda: given.now)
    fleet.latest()
    given.fails, given.now = True, given.now + EVERY_SECONDS
    for _ in range(3):
        with pytest.raises(AgentError, match="no answer within 8 s"):
            fleet.latest()
    assert given.times == 2
    given.fails, given.now = False, given.now + EVERY_SECONDS
    assert fleet.latest() == b"3"


def test_who_comes_while_hosts_are_asked_waits_for_nobody() -> None:
    asking, go_on = threading.Event(), threading.Event()

    def slow() -> bytes:
        asking.set()
        go_on.wait()
        return b"{}"

    fleet = FleetDocument(slow)
    first = threading.Thread(target=fleet.latest)
    first.start()
    asking.wait()
    with pytest.raises(AgentError, match="are being asked"):
        fleet.latest()
    go_on.set()
    first.join()
    assert fleet.latest() == b"{}"


def test_a_host_that_redirects_is_told_and_not_followed() -> None:
    with serving() as server:
        server.replies[PATH] = redirects("http://127.0.0.1:9/")
        told = json.loads(asked(server.url).stdout)
    assert "HTTP status 302" in told["hosts"][0]["sentence"]
