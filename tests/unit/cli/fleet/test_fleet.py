# SPDX-License-Identifier: Apache-2.0
"""Several hosts in one table, asked of real HTTP servers that answer as agents do, or do not."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from agent.cli.fleet.table import fleet_lines, row_of
from agent.cli.main import main
from agent.core.settings.hosts import Host, host_of
from agent.core.view.snapshot import HeldView, ServiceView, to_json
from agent.errors import UsageError
from agent.host.web.peer import Asker, Credentials
from agent.tasks.fleet.ask_hosts import Asking, Told, hosts_of
from tests.given.fake_http import FakeServer, Reply, dribbles, raw, redirects, says, serving
from tests.given.some_gpus import some_gpus
from tests.given.some_snapshot import SNAPSHOT
from tests.project.test_schemas import made

PATH = "GET /status.json"
SERVES = ServiceView("vllm", "vllm.service", "serving", 0.0, "it answers")
HELD = replace(
    SERVES, phase="held", reason="held: no such model", held=HeldView("no such model", "mend it")
)
WELL = replace(SNAPSHOT, services=(SERVES,), findings=(), sources=(), config_valid=True)


def status(*services: ServiceView, **more: Any) -> str:
    snapshot = replace(WELL, services=services, **more)
    return json.dumps({**to_json(snapshot), "needs": []})


Start = Callable[[Reply], FakeServer]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts agents, each with its answer."""
    with ExitStack() as stack:

        def one(answer: Reply) -> FakeServer:
            server = stack.enter_context(serving())
            server.replies[PATH] = answer
            return server

        yield one


def run(*argv: str) -> int:
    return main(["status", *argv])


def test_what_needs_a_person_is_first_then_who_is_away_then_the_others(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    well = start(says(status(SERVES, gpus=some_gpus()))).url
    held = start(says(status(HELD))).url
    starting = start(says(status(replace(SERVES, phase="starting")))).url
    away = "http://127.0.0.1:9"
    assert run("--hosts", ",".join([well, starting, away, held])) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "4 hosts: 1 needs you, 1 does not answer, 1 is not serving, 1 is well"
    assert [line.split()[0] for line in lines[1:]] == [held, away, starting, well]
    assert "needs you: vllm is held: held: no such model" in lines[1]
    assert lines[2].endswith("no answer: Connection refused")
    assert lines[4].endswith("all is well: 1 service and 2 GPUs")


def test_check_tells_scripts_whether_everything_serves(start: Start) -> None:
    well, held = start(says(status(SERVES))).url, start(says(status(HELD))).url
    assert run("--hosts", well, "--check") == 0
    assert run("--hosts", f"{well},{held}") == 0
    assert run("--hosts", f"{well},{held}", "--check") == 1
    assert run("--hosts", start(says(status())).url, "--check") == 1
    other = start(says('{"services": {}}')).url
    assert run("--hosts", f"{well},{other}") == 3


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (says("{}", status=401), "wants a user and a password: see user and password_file"),
        (
            says("", status=404),
            "has no status page: [metrics] page is off there, or it is an older",
        ),
        (says("", status=500), "answers with HTTP status 500"),
        (says("hello"), "answers, but not as llmagent does"),
        (says("[" * 40_000), "answers, but not as llmagent does"),
        (says('{"services": 7}'), "answers, but not as llmagent does"),
        (says('{"services": {"vllm": 7}}'), "answers in another form than this llmagent knows"),
        (says('{"services": {}, "x": "' + "y" * (5 << 20) + '"}'), "answers with more than a"),
        (says('{"services": {}, "x": [' + "[]," * 60_000 + "[]]}"), "answers with more than a"),
        (says('{"services": {}, "x": NaN}'), "answers, but not as llmagent does"),
        (says('{"services": {}, "x": 1e999}'), "answers, but not as llmagent does"),
        (says('{"services": {}, "x": ' + "9" * 5000 + "}"), "answers, but not as llmagent does"),
        (
            redirects("http://127.0.0.1:9/"),
            "sends elsewhere (HTTP status 302), which is not",
        ),
        (raw(b"\x00\xff" * 100), "does not answer in HTTP"),
        (raw(b"\x15\x03\x01\x00\x02\x02P"), "does not answer in HTTP"),
        (raw(b""), "closes the connection before it has answered"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"), "closes the connection before"),
    ],
)
def test_what_is_no_agents_answer_is_one_sentence(
    start: Start, capsys: pytest.CaptureFixture[str], answer: Reply, said: str
) -> None:
    run("--hosts", start(answer).url)
    assert said in capsys.readouterr().out


def test_one_that_dribbles_holds_up_no_other_and_is_not_asked_twice_at_once(start: Start) -> None:
    slow = start(says(""))
    slow.replies[PATH] = dribbles(slow, b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", gap=0.5)
    hosts = [Host("slow", slow.url), Host("well", start(says(status(SERVES))).url)]
    asking = Asking(hosts, Asker(Credentials()), row_of)
    for _ in range(2):
        rows = asking.ask(seconds=2.0)
        assert (rows[0].word, rows[0].sentence) == ("away", "no answer within 2 s")
        assert rows[1].serves
    assert len(slow.asked) == 1


def test_the_password_goes_to_the_host_that_was_named_and_nowhere_else(
    start: Start, tmp_path: Path
) -> None:
    seen: list[str | None] = []

    def take(handler: Any, asked: bytes) -> None:
        seen.append(handler.headers.get("Authorization"))
        redirects("http://127.0.0.1:9/")(handler, asked)

    (tmp_path / "password").write_text("pass word\n")
    server = start(take)
    argv = ["--hosts", server.url, "--user", "eve", "--password-file", str(tmp_path / "password")]
    assert run(*argv) == 3
    assert seen == ["Basic " + base64.b64encode(b"eve:pass word").decode()]


def test_what_a_host_says_cannot_steer_the_terminal(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = replace(HELD, reason="\x1b[2Jgone\nall is well")
    run("--hosts", start(says(status(evil))).url)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert len(out.splitlines()) == 2


def test_lines_keep_within_80_columns() -> None:
    told = [
        Told(Host(f"gpu-{n:02}.rack-7.example.org", "http://x"), json.loads(status(HELD)))
        for n in range(30)
    ]
    lines = list(fleet_lines(list(map(row_of, told)), colour=False, width=80, everything=True))
    assert max(map(len, lines)) <= 80
    assert any("to do: mend it" in line for line in lines)


def test_the_json_is_what_its_schema_says(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    url = start(says(status(SERVES, gpus=some_gpus()))).url
    run("--hosts", f"{url},127.0.0.1:9", "--format", "json")
    document = json.loads(capsys.readouterr().out)
    assert list(Draft7Validator(made()["status-hosts"]).iter_errors(document)) == []
    assert document["hosts"]["127.0.0.1:9"]["status"] is None


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("gpu-01", "http://gpu-01:9836"),
        ("gpu-01:80", "http://gpu-01:80"),
        ("gpu-01:", "http://gpu-01:9836"),
        ("[::1]", "http://[::1]:9836"),
        ("::1", "http://[::1]:9836"),
        ("2001:DB8::7", "http://[2001:db8::7]:9836"),
        ("::ffff:10.0.0.7", "http://[::ffff:10.0.0.7]:9836"),
        ("[fe80::1%eth0]:80", "http://[fe80::1%eth0]:80"),
        ("10.0.0.7", "http://10.0.0.7:9836"),
        ("https://gpu-01/", "https://gpu-01:9836"),
        ("https://proxy:443/gpu-01/", "https://proxy:443/gpu-01"),
    ],
)
def test_a_host_is_a_name_a_port_or_an_address(name: str, address: str) -> None:
    assert host_of(name).address == address


@pytest.mark.parametrize(
    "name",
    [
        *("gpu-01:x", "ftp://gpu-01", "http://", "a b", "[::1", "gpu-[01:40]", "a,b", "a;b"),
        *("::x", "gpu-01:80:80", "gpu-01:99999", "a\tb", "a/../b?c", "$(id)", ""),
        *("https://eve:secret@gpu-01", "https://eve:secret@gpu-01:x", "http://eve:secret@[::1"),
    ],
)
def test_what_is_no_host_is_refused_and_no_password_is_repeated(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        host_of(name)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        b"# rack 7\n127.0.0.1:9\n\n127.0.0.1:9 # again\n",
        b"\xef\xbb\xbf127.0.0.1:9\r\n  127.0.0.1:9/\t\r\n",
        b"127.0.0.1:9,127.0.0.1:9, 127.0.0.1:9",
    ],
)
def test_hosts_of_a_file_are_asked_once_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: bytes
) -> None:
    (tmp_path / "hosts").write_bytes(text)
    assert run("--hosts-file", str(tmp_path / "hosts")) == 3
    assert capsys.readouterr().out.splitlines() == [
        "1 host: 1 does not answer",
        "127.0.0.1:9  no answer: Connection refused",
    ]


def test_too_many_hosts_and_none_are_refused() -> None:
    with pytest.raises(UsageError, match="no host is named"):
        hosts_of([])
    with pytest.raises(UsageError, match="Prometheus"):
        hosts_of([f"gpu-{n}" for n in range(101)])


@pytest.mark.parametrize(
    "argv",
    [
        ["vllm", "--hosts", "gpu-01"],
        ["--hosts", ","],
        ["--hosts-file", "/nowhere"],
        ["--hosts-file", "/"],
        ["--hosts-file", "/dev/zero"],
        ["--hosts-file", "/dev/null"],
        ["--hosts-file", "/etc/shadow"],
        ["--hosts", "gpu-01", "--user", "a:b"],
        ["--hosts", "gpu-01", "--user", "eve", "--password-file", "/dev/null"],
        ["--hosts", "gpu-01", "--password-file", "/nowhere"],
        ["--hosts", "gpu-01", "--user", "eve", "--password-file", "/nowhere"],
        ["--hosts", "gpu-01", "--ca-file", "/nowhere"],
    ],
)
def test_a_mistake_is_one_error(argv: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*argv) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_document_of_another_release_is_no_traceback() -> None:
    told = Told(Host("a", "http://a"), {"services": {"vllm": {"phase": "held"}}})
    assert row_of(told).word == "away"
