# SPDX-License-Identifier: Apache-2.0
"""A service with a key, with TLS or on a Unix socket is reached as it is run, and no further."""

from __future__ import annotations

import socketserver
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from agent.core.engine.metrics import Counters
from agent.core.settings.service import Settings
from agent.host.vllm.api import HealthStatus
from agent.host.vllm.failure import ApiFailure, FailureKind
from agent.host.vllm.proof import Did, Missed, Prober, Refused
from agent.host.vllm.reach import address_of, client_of
from tests.given.certificates import self_signed
from tests.given.fake_http import locked


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"), "vllm", "gpu7.example")


def test_the_probes_carry_the_first_key_of_the_file(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("\nfirst-key\nsecond-key\n")
    with locked(key="first-key") as seen:
        api = client_of(Settings("vllm", "m", port=seen.port, api_key_file=str(keys)))
        assert isinstance(Prober(api, "m").prove(5.0), Did)


def test_what_is_open_to_all_is_asked_without_the_key(tmp_path: Path) -> None:
    """Whoever takes the port while vLLM is down hears no key before the service proved itself."""
    keys = tmp_path / "keys"
    keys.write_text("first-key\n")
    with locked(key="first-key") as seen:
        api = client_of(Settings("vllm", "m", port=seen.port, api_key_file=str(keys)))
        assert api.health() is HealthStatus.HEALTHY
        assert isinstance(api.counters(), Counters)
        assert [given for _, given in seen.requests] == ["", ""]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "needs a key: api_key_file"),
        ("an-old-key\n", "the server refuses the key of api_key_file"),
    ],
)
def test_a_key_that_is_missing_or_wrong_is_a_refusal(
    tmp_path: Path, content: str | None, why: str
) -> None:
    keys = tmp_path / "keys"
    if content is not None:
        keys.write_text(content)
    with locked(key="first-key") as seen:
        api = client_of(Settings("vllm", "m", port=seen.port, api_key_file=str(keys)))
        assert Prober(api, "m").prove(5.0) == Refused(why)


def test_a_service_with_tls_is_known_by_its_certificate_whatever_its_name(
    certificate: tuple[Path, Path],
) -> None:
    with locked(certificate=certificate) as seen:
        cert, key = map(str, certificate)
        settings = Settings("vllm", "m", port=seen.port, ssl_certfile=cert, ssl_keyfile=key)
        api = client_of(settings)
        assert api.health() is HealthStatus.HEALTHY
        assert isinstance(Prober(api, "m").prove(5.0), Did)
        assert address_of(settings) == f"https://127.0.0.1:{seen.port}"


def test_a_stranger_with_a_certificate_of_his_own_gets_neither_request_nor_key(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("first-key\n")
    strange = self_signed(tmp_path, "strange", "gpu7.example")
    with locked(certificate=strange) as seen:
        settings = Settings(
            "vllm",
            "m",
            port=seen.port,
            ssl_certfile=str(certificate[0]),
            ssl_keyfile=str(certificate[1]),
            api_key_file=str(keys),
        )
        api = client_of(settings)
        failure = api.models()
        assert isinstance(failure, ApiFailure)
        assert failure.kind is FailureKind.UNTRUSTED
        assert Prober(api, "m").prove(5.0) == Refused(
            "the server shows a certificate that is not in ssl_certfile"
        )
        assert seen.requests == []


def test_a_service_that_asks_for_clients_certificates_is_shown_the_agents(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    own = self_signed(tmp_path, "agent", "agent")
    with locked(certificate=certificate, clients=own[0]) as seen:
        api = client_of(mutual(seen.port, certificate, own))
        assert api.health() is HealthStatus.HEALTHY
        assert isinstance(Prober(api, "m").prove(5.0), Did)


def test_a_client_certificate_that_is_strange_or_cannot_be_used_is_a_refusal_and_no_death(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    own, strange = self_signed(tmp_path, "agent"), self_signed(tmp_path, "strange")
    away = tmp_path / "away.pem"
    with locked(certificate=certificate, clients=own[0]) as seen:
        for shown, why in (
            (strange, "the server refuses the certificate of client_certfile"),
            ((own[0], strange[1]), "client_certfile and client_keyfile cannot be used"),
            ((away, away), "client_certfile and client_keyfile cannot be used: No such file"),
        ):
            proof = Prober(client_of(mutual(seen.port, certificate, shown)), "m").prove(5.0)
            assert isinstance(proof, Refused), proof
            assert proof.why.startswith(why)
        assert seen.requests == []


def test_a_server_that_closes_in_the_handshake_refuses_who_shows_a_certificate(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    """Seen: uvicorn with --ssl-cert-reqs 2 and a certificate that it does not know."""
    own = self_signed(tmp_path, "agent")

    class Closes(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(4096)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Closes) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        shows = mutual(server.server_address[1], certificate, own)
        proofs = [
            Prober(client_of(one), "m").prove(5.0)
            for one in (shows, replace(shows, client_certfile=None, client_keyfile=None))
        ]
        server.shutdown()
        thread.join()
    assert isinstance(proofs[0], Refused), proofs
    assert "refuses the certificate of client_certfile" in proofs[0].why
    assert isinstance(proofs[1], Missed), proofs


def test_an_encrypted_private_key_asks_nobody_for_its_password(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    cert, key = self_signed(tmp_path, "agent")
    locked_key = tmp_path / "locked.key"
    lock = ["openssl", "pkey", "-in", str(key), "-aes256", "-passout", "pass:secret"]
    subprocess.run([*lock, "-out", str(locked_key)], check=True, capture_output=True, timeout=60)
    with locked(certificate=certificate, clients=cert) as seen:
        proof = Prober(client_of(mutual(seen.port, certificate, (cert, locked_key))), "m").prove(5)
    assert isinstance(proof, Refused)


def mutual(port: int, server: tuple[Path, Path], own: tuple[Path, Path]) -> Settings:
    """Returns a service that knows its clients by their certificates."""
    return Settings(
        "vllm",
        "m",
        port=port,
        ssl_certfile=str(server[0]),
        ssl_keyfile=str(server[1]),
        client_certfile=str(own[0]),
        client_keyfile=str(own[1]),
    )


def test_a_certificate_file_that_holds_none_trusts_nobody(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n")
    with locked(certificate=certificate) as seen:
        settings = Settings(
            "vllm", "m", port=seen.port, ssl_certfile=str(empty), ssl_keyfile=str(empty)
        )
        assert client_of(settings).health() is HealthStatus.STRANGE
        assert seen.requests == []


def test_a_service_on_a_unix_socket_is_asked_there(tmp_path: Path) -> None:
    with locked(uds=tmp_path / "api.sock"):
        settings = Settings("vllm", "m", uds=str(tmp_path / "api.sock"))
        api = client_of(settings)
        assert api.health() is HealthStatus.HEALTHY
        assert isinstance(Prober(api, "m").prove(5.0), Did)
        assert address_of(settings) == f"unix:{tmp_path}/api.sock"


def test_a_unix_socket_without_a_server_is_refused_not_silent(tmp_path: Path) -> None:
    api = client_of(Settings("vllm", "m", uds=str(tmp_path / "nobody.sock")))
    assert api.health() is HealthStatus.REFUSED
    proof = Prober(api, "m").prove(1.0)
    assert isinstance(proof, Missed)
    assert proof.away
