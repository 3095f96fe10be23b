# SPDX-License-Identifier: Apache-2.0
"""The program that tells a person, run for real against servers that take, dawdle, or are down."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent.notify.notifiers.heartbeat import Healthchecks, UptimeKuma, heartbeat_of
from tests.given.steering.sinks import free_port, http_sink, mail_sink
from tests.rig.paths import REPO

MESSAGE = {
    "title": "vllm is held: gated-repo",
    "body": "vllm is held: gated-repo\n  to do: Ask for access.",
    "severity": "critical",
}
SECRET = "s3cretword"


def tells(what: str, file: Path, **more: object) -> tuple[int, dict[str, str], str]:
    """Returns the exit status, each notifier's problem, and all that was printed."""
    done = subprocess.run(
        [sys.executable, "-m", "agent.notify", what, str(file)],
        check=False,
        cwd=REPO,
        input=json.dumps({**MESSAGE, **more}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    said: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    told = {one["name"]: one["problem"] for one in said}
    return done.returncode, told, done.stdout + done.stderr


def test_each_notifier_is_told_whatever_becomes_of_the_others(tmp_path: Path) -> None:
    file = tmp_path / "notify.urls"
    with http_sink() as ntfy, http_sink(slow_seconds=120) as slow, mail_sink() as mail:
        file.write_text(
            f"json://user:{SECRET}@127.0.0.1:{slow.port}/slow?rto=1&cto=1\n"
            f"json://user:{SECRET}@127.0.0.1:{free_port()}/down\n"
            "# a comment\n"
            f"ntfy://user:{SECRET}@127.0.0.1:{ntfy.port}/llmagent\n"
            f"mailto://127.0.0.1:{mail.port}?from=llmagent@example.org&to=root@example.org\n"
        )
        status, told, printed = tells("send", file)
        assert status == 1
        problems = list(told.values())
        assert problems == [
            "could not be reached, or did not answer in time",
            "could not be reached, or did not answer in time",
            "",
            "",
        ]
        ((_, _, body),) = ntfy.asked
        assert "vllm is held: gated-repo" in body
        assert "to do: Ask for access." in body
        (received,) = mail.mails
        assert "vllm is held: gated-repo" in str(received["Subject"])
        assert str(received["Subject"]).startswith("[")
        assert SECRET not in printed

        # Only who was not told is told again.
        left = [name for name, problem in told.items() if problem]
        status, again, _ = tells("send", file, left=left[1:])
        assert (status, len(again)) == (1, 1)
        assert len(ntfy.asked) == len(mail.mails) == 1


def test_a_webhook_that_refuses_is_told_with_its_status(tmp_path: Path) -> None:
    file = tmp_path / "notify.urls"
    with http_sink(status=403) as webhook:
        file.write_text(f"json://:{SECRET}@127.0.0.1:{webhook.port}/hook\n")
        status, told, printed = tells("send", file)
    assert status == 1
    assert list(told.values()) == ["refused it (HTTP 403)"]
    assert SECRET not in printed


@pytest.mark.parametrize("text", ["", "# only a comment\n", "nonsense\n", "gopher://127.0.0.1/\n"])
def test_a_file_without_an_address_is_told_in_one_sentence(tmp_path: Path, text: str) -> None:
    file = tmp_path / "notify.urls"
    file.write_text(text)
    status, told, _ = tells("send", file)
    assert status == 1
    assert told == {"": "the file of [notify] urls_file has no URL that Apprise understands"}


def test_healthchecks_is_asked_for_its_address_and_for_its_fail(tmp_path: Path) -> None:
    file = tmp_path / "ping"
    with http_sink() as server:
        file.write_text(f"http://127.0.0.1:{server.port}/a0b1-c2d3\n")
        assert tells("beat", file, title="all is well", severity="info")[0] == 0
        assert tells("beat", file, title="vllm is held", severity="critical")[0] == 0
        asked = server.asked
    assert [(method, path) for method, path, _ in asked] == [
        ("POST", "/a0b1-c2d3"),
        ("POST", "/a0b1-c2d3/fail"),
    ]
    assert asked[1][2].endswith("] vllm is held")


def test_uptime_kuma_is_told_up_or_down(tmp_path: Path) -> None:
    file = tmp_path / "ping"
    with http_sink() as server:
        file.write_text(f"http://127.0.0.1:{server.port}/api/push/tOkEn?status=up&msg=OK&ping=\n")
        assert tells("beat", file, title="all is well", severity="info")[0] == 0
        assert tells("beat", file, title="vllm is held", severity="critical")[0] == 0
        paths = [path for _, path, _ in server.asked]
    assert paths[0].startswith("/api/push/tOkEn?status=up&msg=")
    assert paths[1].startswith("/api/push/tOkEn?status=down&msg=")


def test_a_switch_that_is_down_or_refuses_is_told_without_its_address(tmp_path: Path) -> None:
    file = tmp_path / "ping"
    file.write_text(f"http://127.0.0.1:{free_port()}/{SECRET}\n")
    status, told, printed = tells("beat", file, severity="info")
    assert status == 1
    assert list(told.values()) == ["could not be reached (ConnectionRefusedError)"]
    with http_sink(status=404) as server:
        file.write_text(f"http://127.0.0.1:{server.port}/{SECRET}\n")
        _, told, more = tells("beat", file, severity="info")
    assert list(told.values()) == ["refused it (HTTP 404)"]
    assert SECRET not in printed + more


@pytest.mark.parametrize(
    "text",
    ["", "ftp://example.org/x", "file:///etc/shadow", "http://a/\nhttp://b/", "hc-ping.com/x"],
)
def test_what_is_no_single_web_address_is_no_switch(text: str) -> None:
    with pytest.raises(ValueError, match="one line: an http or https address"):
        heartbeat_of(text)


def test_the_form_of_a_switch_is_known_by_its_address() -> None:
    assert isinstance(heartbeat_of("https://hc-ping.com/uuid\n"), Healthchecks)
    assert isinstance(heartbeat_of("https://kuma.example/api/push/x?status=up"), UptimeKuma)
