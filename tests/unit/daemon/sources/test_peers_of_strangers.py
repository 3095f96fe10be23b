# SPDX-License-Identifier: Apache-2.0
"""Hosts as strangers set them up: each mistake between them is told in one clear sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import bcrypt
import pytest

from agent.core.cluster.member import Generation, Member, Stance
from agent.core.settings.hosts import host_of
from agent.host.web.peer import Asker, credentials_of
from agent.tasks.cluster.ask_peers import ANSWER_SECONDS, ask_peer, ask_peers
from tests.given.certificates import self_signed
from tests.given.cluster.two_hosts import of_two_here
from tests.given.fake_http import says, serving
from tests.unit.daemon.sources.words import exporting, told

WORD = Member(0, Generation(7, 1), Stance.SERVING, head=True)
HERE = of_two_here(1)


def port_of(address: str) -> int:
    port = urlsplit(address).port
    assert port is not None
    return port


def problem(address: str, service: str = "vllm", **more: str) -> str:
    cluster = replace(HERE, peers=(address,), **more)  # type: ignore[arg-type]
    asker = Asker(credentials_of(cluster.user, cluster.password_file, cluster.ca_file))
    peer = ask_peer(asker, address, service, ANSWER_SECONDS)
    assert (peer.member is None) == bool(peer.problem)
    return peer.problem


def test_a_service_of_another_name_is_told_with_the_name_that_it_has_there() -> None:
    with exporting(told(WORD)) as address:
        said = problem(address, "llama")
    assert said == (
        "has no [service.llama.cluster], but of vllm: the table has the same name on all hosts"
    )


def test_names_of_a_stranger_are_made_plain_and_are_not_many() -> None:
    names = ", ".join(f'"a{number}\\u001b[31m": {{}}' for number in range(900))
    with serving() as stranger:
        body = f'{{"format": 1, "services": {{{names}}}}}'
        stranger.replies["GET /cluster.json"] = says(body)
        said = problem(stranger.url)
    assert said.isprintable()
    assert len(said) < 400


@pytest.mark.parametrize(
    ("listens", "named"),
    [
        ("127.0.0.1", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("::", "127.0.0.1"),
        ("::1", "[::1]"),
    ],
)
def test_a_peer_is_found_by_its_name_and_by_addresses_of_either_kind(
    listens: str, named: str
) -> None:
    with exporting(told(WORD), listens=listens) as address:
        port = port_of(address)
        if named.startswith("["):
            written = f"{named}:{port}"
        else:
            written = host_of(named).address.replace(":9836", f":{port}")
        assert problem(host_of(written).address) == ""


def secured(directory: Path, password: str) -> str:
    self_signed(directory, "own")
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    config = directory / "web.yml"
    config.write_text(
        f"tls_server_config: {{cert_file: own.crt, key_file: own.key}}\n"
        f'basic_auth_users:\n  peer: "{hashed}"\n'
    )
    return str(config)


def test_a_peer_behind_tls_is_believed_by_who_trusts_its_certificate_alone(tmp_path: Path) -> None:
    other, _ = self_signed(tmp_path, "other")
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("secret\n")
    wrong.write_text("guessed\n")
    config = secured(tmp_path, "secret")
    with exporting(told(WORD), config) as address:
        at = f"https://localhost:{port_of(address)}"
        own = str(tmp_path / "own.crt")
        knows = {"user": "peer", "password_file": str(right)}
        assert problem(at, ca_file=own, **knows) == ""
        assert "is not trusted" in problem(at, ca_file=str(other), **knows)
        assert "see ca_file" in problem(at, **knows)
        guessed = problem(at, ca_file=own, user="peer", password_file=str(wrong))
        assert guessed == "refuses the user or the password: see user and password_file"
        assert problem(at, ca_file=own).startswith("wants a user and a password")
        plain = problem(address, **knows)
    assert plain == (
        "closes the connection before it has answered: if it speaks TLS, name it with https://"
    )


def test_a_peer_without_tls_that_is_asked_with_it_is_told_as_one() -> None:
    with exporting(told(WORD)) as address:
        said = problem(f"https://127.0.0.1:{port_of(address)}")
    assert said == "no TLS handshake in time: if it speaks none, name it without https://"


def test_an_older_agent_is_told_as_one() -> None:
    with serving() as older:
        older.replies["GET /cluster.json"] = says("not found", 404)
        said = problem(older.url)
    assert said == (
        "knows nothing of groups of hosts: is that llmagent's port, and as new as this one?"
    )


def test_a_clock_that_is_hours_off_changes_nothing_of_its_word() -> None:
    for off in (-7 * 3600.0, 7 * 3600.0):
        snapshot = told(WORD)
        with exporting(replace(snapshot, at_seconds=snapshot.at_seconds + off)) as address:
            (peer,) = ask_peers(replace(HERE, peers=(address,)), "vllm", 5.0)
        assert peer.member is not None
