# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import contextlib
import ssl
import subprocess
from pathlib import Path

import bcrypt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.errors import ConfigError
from agent.host.web.access import WebAccess
from agent.host.web.config_file import TlsFiles, read_web_config
from agent.host.web.passwords import PasswordBook
from tests.given.certificates import self_signed

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "web.yml"
    file.write_text(text)
    return file


def mistakes(tmp_path: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as raised:
        read_web_config(written(tmp_path, text))
    return raised.value.mistakes


def test_a_file_of_node_exporters_users_is_read(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        f"""\
tls_server_config:
  cert_file: tls/node.crt
  key_file: /etc/ssl/node.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
  min_version: TLS13
http_server_config:
  http2: true
  headers:
    X-Content-Type-Options: nosniff
basic_auth_users:
  alice: {HASH}
  bob: $2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi
""",
    )
    config = read_web_config(file)
    assert config.tls == TlsFiles(
        cert=tmp_path / "tls/node.crt",
        key=Path("/etc/ssl/node.key"),
        client_ca=tmp_path / "ca.crt",
        client_auth="RequireAndVerifyClientCert",
        min_version=ssl.TLSVersion.TLSv1_3,
    )
    assert set(config.users) == {"alice", "bob"}
    assert config.headers == (("X-Content-Type-Options", "nosniff"),)


def test_an_empty_file_asks_for_nothing(tmp_path: Path) -> None:
    config = read_web_config(written(tmp_path, "# nothing yet\n"))
    assert (config.tls, config.users, config.headers) == (None, {}, ())


def test_all_mistakes_are_told_at_once_each_with_its_path(tmp_path: Path) -> None:
    text = """\
tls_server_config:
  cert_fil: x
  key_file: 7
  client_auth_type: RequireAnyClientCert
  min_version: TLS9
  cipher_suites: [TLS_AES_128_GCM_SHA256]
http_server_config: {http2: maybe, headers: {X-Evil: "1"}}
basic_auth_users: {bob: hunter2}
extra: 1
"""
    found = mistakes(tmp_path, text)
    paths = sorted(sentence.split(":")[0] for sentence in found)
    assert paths == [
        "basic_auth_users.bob",
        "extra",
        "http_server_config.headers.X-Evil",
        "http_server_config.http2",
        "tls_server_config.cert_fil",
        "tls_server_config.cert_file",
        "tls_server_config.cipher_suites",
        "tls_server_config.client_auth_type",
        "tls_server_config.client_auth_type",
        "tls_server_config.key_file",
        "tls_server_config.key_file",
        "tls_server_config.min_version",
    ]


def test_a_password_in_clear_is_refused_and_not_repeated(tmp_path: Path) -> None:
    [sentence] = mistakes(tmp_path, "basic_auth_users: {bob: hunter2}")
    assert "hunter2" not in sentence
    assert "htpasswd" in sentence


@pytest.mark.parametrize("text", ["a: [", "- 1\n", "just text", "{1: 2}", "\x00"])
def test_what_is_no_table_is_one_mistake(tmp_path: Path, text: str) -> None:
    assert len(mistakes(tmp_path, text)) == 1


def test_a_file_that_is_not_there_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"web.yml: cannot be read: No such file"):
        read_web_config(tmp_path / "web.yml")


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = written(tmp_path, "tls_server_config: {cert_file: a.crt, key_file: a.key}")
    with pytest.raises(ConfigError, match=r"a\.crt with .*a\.key cannot be used: No such file"):
        WebAccess(file, report=print)


def test_a_key_with_a_pass_phrase_is_refused_and_not_asked_for(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path, "own")
    subprocess.run(
        ["openssl", "ec", "-aes256", "-passout", "pass:x", "-in", key, "-out", tmp_path / "e.key"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    file = written(tmp_path, f"tls_server_config: {{cert_file: {cert}, key_file: e.key}}")
    with pytest.raises(ConfigError, match=r"e\.key cannot be used"):
        WebAccess(file, report=print)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_a_broken_change_is_reported_once_and_what_was_in_force_stays(tmp_path: Path) -> None:
    reports: list[str] = []
    file = written(tmp_path, f"basic_auth_users: {{alice: {HASH}}}")
    access = WebAccess(file, report=reports.append)
    file.write_text("basic_auth_users: [broken")
    assert access.admits(basic("alice", "secret"))
    assert not access.admits("")
    assert len(reports) == 1
    assert "what was in force before stays" in reports[0]
    file.write_text(f"basic_auth_users: {{bob: {HASH}}}  # mended\n")
    assert not access.admits(basic("alice", "secret"))
    assert access.admits(basic("bob", "secret"))


def test_a_file_that_is_deleted_does_not_open_the_door(tmp_path: Path) -> None:
    file = written(tmp_path, f"basic_auth_users: {{alice: {HASH}}}")
    access = WebAccess(file, report=lambda _: None)
    file.unlink()
    assert not access.admits("")
    assert access.admits(basic("alice", "secret"))


def test_a_user_who_was_taken_out_is_a_stranger_though_the_password_lives_on(
    tmp_path: Path,
) -> None:
    file = written(tmp_path, f"basic_auth_users: {{alice: {HASH}}}")
    access = WebAccess(file, report=print)
    assert access.admits(basic("alice", "secret"))
    file.write_text(f"basic_auth_users: {{bobby: {HASH}}}  # changed hands\n")
    assert not access.admits(basic("alice", "secret"))


def test_a_changed_password_counts_at_once(tmp_path: Path) -> None:
    file = written(tmp_path, f"basic_auth_users: {{alice: {HASH}}}")
    access = WebAccess(file, report=print)
    assert access.admits(basic("alice", "secret"))
    other = bcrypt.hashpw(b"changed", bcrypt.gensalt(4)).decode()
    file.write_text(f"basic_auth_users: {{alice: {other}}}  # new\n")
    assert not access.admits(basic("alice", "secret"))
    assert access.admits(basic("alice", "changed"))


def test_a_password_of_one_user_is_not_that_of_another() -> None:
    book = PasswordBook()
    users = {"alice": HASH.encode(), "bob": bcrypt.hashpw(b"bobs", bcrypt.gensalt(4))}
    assert book.admits(basic("alice", "secret"), users)
    assert not book.admits(basic("bob", "secret"), users)
    assert not book.admits(basic("carol", "secret"), users)
    assert book.admits(basic("bob", "bobs"), users)


def test_a_remembered_password_costs_no_hash() -> None:
    slow = bcrypt.hashpw(b"secret", bcrypt.gensalt(4))
    book = PasswordBook()
    assert book.admits(basic("alice", "secret"), {"alice": slow})
    for _ in range(100_000):
        assert book.admits(basic("alice", "secret"), {"alice": slow})


@given(st.text(), st.text())
def test_no_other_name_and_password_is_let_in(user: str, password: str) -> None:
    users = {"alice": HASH.encode()}
    right = (user, password) == ("alice", "secret")
    try:
        header = basic(user, password)
    except UnicodeEncodeError:
        return
    assert PasswordBook().admits(header, users) is right


@given(st.text())
def test_no_other_header_is_let_in(header: str) -> None:
    assert not PasswordBook().admits(header, {"alice": HASH.encode()})


ODD = (
    *(b'!!timestamp "z"', b'!!int ""', b'!!float "x"', b"!!bool z", b'!!binary "x"', b"!!omap []"),
    *(b"? [a]\n: b", b"&a [*a]", b"%YAML 9", b"\xff", b"---\n---\n", b"!!str [a]", b"!!map [1]"),
    *(b"{" * 100_000, b"a: 2001-99-99", b"!!python/object:os.system x", b"<<: [1]", b"\x00"),
    *(b"a: 0b", b"a: 0x", b"a: 1:99:99", b"a: !!timestamp 2001-13-13", b"x" * (2 << 20)),
)
TAGS = ("int", "float", "bool", "null", "timestamp", "binary", "omap", "pairs", "set", "str", "seq")


@pytest.mark.parametrize("content", ODD, ids=lambda content: repr(content[:20]))
def test_odd_yaml_is_a_mistake_of_the_configuration(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "web.yml").write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        read_web_config(tmp_path / "web.yml")
    assert len(str(refused.value)) < 1000


@given(
    st.binary(max_size=200)
    | st.builds("!!{} {}".format, st.sampled_from(TAGS), st.text(max_size=12)).map(str.encode)
    | st.lists(st.sampled_from(ODD[:13]) | st.sampled_from([b"\n", b": ", b"- "])).map(b"".join)
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_configuration_or_its_mistakes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "web.yml").write_bytes(content)
    with contextlib.suppress(ConfigError):
        read_web_config(tmp_path / "web.yml")
