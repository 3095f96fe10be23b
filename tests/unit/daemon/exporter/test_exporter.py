# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import contextlib
import gzip
import http.client
import platform
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from email.message import Message
from http import HTTPStatus
from pathlib import Path

import bcrypt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse

from agent.core.settings.config import Metrics
from agent.core.view.snapshot import Snapshot
from agent.daemon.exporter.exporter import Exporter
from agent.daemon.exporter.http_server import (
    HttpServer,
    Request,
    Response,
    parse_head,
)
from agent.daemon.exporter.listening import ConnectionLimits
from agent.errors import AgentError
from tests.given.certificates import self_signed
from tests.given.some_snapshot import SNAPSHOT

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
PASSWORD_HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()


@contextlib.contextmanager
def exporting(
    snapshot: Callable[[], Snapshot] = lambda: SNAPSHOT, web_config_file: str = ""
) -> Iterator[Exporter]:
    exporter = Exporter(snapshot, Metrics(port=0, web_config_file=web_config_file))
    exporter.start()
    try:
        yield exporter
    finally:
        exporter.close()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    body: bytes


def get(
    exporter: Exporter, path: str = "/metrics", tls: ssl.SSLContext | None = None, **headers: str
) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    client: http.client.HTTPConnection
    if tls is None:
        client = http.client.HTTPConnection("127.0.0.1", exporter.port, timeout=10)
    else:
        client = http.client.HTTPSConnection("127.0.0.1", exporter.port, timeout=10, context=tls)
    with contextlib.closing(client):
        client.request("GET", path, headers={**names, "Connection": "close"})
        answer = client.getresponse()
        return Answer(answer.status, answer.headers, answer.read())


def samples(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(text)  # type: ignore[no-untyped-call]
        for sample in family.samples
    }


def scrape(snapshot: Snapshot = SNAPSHOT) -> Samples:
    with exporting(lambda: snapshot) as exporter:
        return samples(get(exporter).body.decode())


def of(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((name, tuple(sorted(labels.items()))))


def test_a_service_is_in_exactly_one_of_all_phases() -> None:
    found = scrape()
    in_phase = {
        labels: value for (name, labels), value in found.items() if name == "llmagent_service_phase"
    }
    assert len(in_phase) == 2 * len(SNAPSHOT.phases)
    assert sum(in_phase.values()) == 2
    assert of(found, "llmagent_service_phase", service="vllm", phase="serving") == 1
    assert of(found, "llmagent_service_held", service="embed") == 1
    assert of(found, "llmagent_service_held", service="vllm") == 0
    assert of(found, "llmagent_service_rolled_back", service="embed") == 1
    assert of(found, "llmagent_service_rolled_back", service="vllm") == 0


def test_settings_in_force_and_settings_asked_stand_side_by_side() -> None:
    found = scrape()
    labels = {"service": "vllm", "setting": "gpu_memory_utilization"}
    assert of(found, "llmagent_service_setting", **labels) == 0.86
    assert of(found, "llmagent_service_setting_asked", **labels) == 0.95
    assert of(found, "llmagent_service_setting", service="vllm", setting="enforce_eager") == 1
    assert of(found, "llmagent_service_setting", service="vllm", setting="quantization") is None


def test_each_verified_item_has_exactly_one_verdict() -> None:
    found = scrape()
    labels = {"service": "vllm", "item": "linear_kernel"}
    name = "llmagent_service_verification"
    assert of(found, name, verdict="contradicted", **labels) == 1
    assert of(found, name, verdict="proven", **labels) == 0
    assert of(found, name, verdict="unknown", **labels) == 0


def test_restarts_are_counted_by_class() -> None:
    found = scrape()
    labels = {"service": "vllm", "class": "engine-dead"}
    assert of(found, "llmagent_service_restarts_total", **labels) == 2


def test_the_time_in_the_present_phase_goes_on() -> None:
    name = "llmagent_service_phase_seconds_total"
    assert of(scrape(), name, service="vllm", phase="serving") == 10 + 50
    later = replace(SNAPSHOT, at_seconds=1060.0)
    assert of(scrape(later), name, service="vllm", phase="serving") == 10 + 60
    assert of(scrape(later), name, service="vllm", phase="starting") == 80


def test_numbers_that_are_not_known_have_no_sample() -> None:
    found = scrape()
    assert of(found, "llmagent_service_requests_running", service="vllm") == 3
    assert of(found, "llmagent_service_requests_running", service="embed") is None
    assert of(found, "llmagent_service_kv_cache_usage_ratio", service="vllm") is None
    assert of(found, "llmagent_service_start_duration_seconds", service="vllm") == 42.5
    assert of(found, "llmagent_service_start_duration_seconds", service="embed") is None


def test_the_agent_tells_of_itself() -> None:
    found = scrape(replace(SNAPSHOT, config_valid=False))
    assert of(found, "llmagent_build_info", version="0.1.0", python=platform.python_version())
    assert of(found, "llmagent_config_valid") == 0
    assert of(found, "llmagent_source_up", source="units") == 1
    assert of(found, "llmagent_source_up", source="api:embed") == 0
    assert of(found, "llmagent_last_decision_timestamp_seconds") == 1049.5
    assert of(found, "process_resident_memory_bytes")


def test_each_scrape_shows_the_latest_snapshot() -> None:
    latest = [replace(SNAPSHOT, services=())]
    with exporting(lambda: latest[0]) as exporter:
        first = samples(get(exporter).body.decode())
        latest[0] = SNAPSHOT
        second = samples(get(exporter).body.decode())
    assert of(first, "llmagent_service_held", service="vllm") is None
    assert of(second, "llmagent_service_held", service="vllm") == 0


def test_promtool_finds_nothing_to_complain_about() -> None:
    with exporting() as exporter:
        text = get(exporter).body
    # Linting, not scraping: the names that prometheus-client itself gives are not ours to judge.
    ours = b"".join(
        line
        for line in text.splitlines(keepends=True)
        if b" process_" not in line and not line.startswith(b"process_")
    )
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=ours, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_openmetrics_is_given_to_whoever_accepts_it() -> None:
    with exporting() as exporter:
        answer = get(exporter, Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
        text = answer.body.decode()
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")
    names = {family.name for family in parse_openmetrics(text)}  # type: ignore[no-untyped-call]
    assert "llmagent_service_restarts" in names


def test_gzip_is_given_to_whoever_accepts_it() -> None:
    with exporting() as exporter:
        answer = get(exporter, Accept_Encoding="deflate, gzip")
        body = answer.body
    assert answer.headers["Content-Encoding"] == "gzip"
    assert b"llmagent_build_info" in gzip.decompress(body)


def test_the_front_page_leads_to_the_metrics_and_nothing_else_is_there() -> None:
    with exporting() as exporter:
        assert b'href="metrics"' in get(exporter, "/").body
        assert get(exporter, "/metrics?name[]=x").status == 200
        assert get(exporter, "/../etc/passwd").status == 404


def test_a_connection_serves_several_scrapes() -> None:
    with exporting() as exporter:
        client = http.client.HTTPConnection("127.0.0.1", exporter.port, timeout=10)
        for _ in range(3):
            client.request("GET", "/metrics")
            assert b"llmagent_build_info" in client.getresponse().read()
        sock = client.sock
        client.request("HEAD", "/metrics")
        assert client.getresponse().read() == b""
        assert client.sock is sock
        client.request("POST", "/metrics", body=b"x")
        answer = client.getresponse()
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
        assert answer.headers["Connection"] == "close"
        client.close()


def test_a_port_that_is_taken_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AgentError, match=rf"cannot listen on 127.0.0.1:{port}: Address alre"):
            Exporter(lambda: SNAPSHOT, Metrics(port=port))


def test_a_host_that_does_not_exist_is_one_clear_error() -> None:
    with pytest.raises(AgentError, match=r"cannot listen on 203\.0\.113\.9:9: Cannot assign"):
        Exporter(lambda: SNAPSHOT, Metrics(address="203.0.113.9", port=9))


def test_the_port_is_free_again_after_close() -> None:
    with exporting() as exporter:
        client = socket.create_connection(("127.0.0.1", exporter.port))
        port = exporter.port
    with client:
        client.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
    again = Exporter(lambda: SNAPSHOT, Metrics(port=port))
    again.close()


def ok(_request: Request) -> Response:
    return Response(HTTPStatus.OK, "text/plain", b"ok")


@contextlib.contextmanager
def bounded(
    limits: ConnectionLimits, answer: Callable[[Request], Response] = ok
) -> Iterator[HttpServer]:
    server = HttpServer("127.0.0.1", 0, answer, lambda: None, limits)
    server.start()
    try:
        yield server
    finally:
        server.close()


def connected(server: HttpServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def test_a_client_that_never_finishes_its_request_is_hung_up_on() -> None:
    with bounded(ConnectionLimits(request=0.2)) as server, connected(server) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nX: ")
        assert slow.recv(1) == b""


def test_an_idle_connection_is_closed_in_the_end() -> None:
    with bounded(ConnectionLimits(request=0.2, idle=0.2)) as server, connected(server) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        received = b""
        while piece := client.recv(4096):
            received += piece
        assert received.endswith(b"ok")


def test_waiting_clients_give_way_to_a_new_one() -> None:
    with bounded(ConnectionLimits(connections=3)) as server, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connected(server)) for _ in range(6)]
        for sock in slow:
            with contextlib.suppress(OSError):
                sock.sendall(b"GET /")
        with connected(server) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200 OK")


def test_clients_that_read_none_of_their_answers_give_way_to_a_new_one() -> None:
    def large(request: Request) -> Response:
        return Response(HTTPStatus.OK, "text/plain", b"x" * (1 << 20))

    limits = ConnectionLimits(connections=3, request=3600.0)
    with bounded(limits, large) as server, contextlib.ExitStack() as stack:
        for _ in range(3):
            deaf = stack.enter_context(connected(server))
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.sendall(b"GET / HTTP/1.1\r\n\r\n" * 20)
        for _ in range(40):
            with contextlib.suppress(ConnectionError), connected(server) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                if client.recv(4096).startswith(b"HTTP/1.1 200 OK"):
                    return
        pytest.fail("nobody else was answered")


def test_a_request_without_end_is_refused() -> None:
    with bounded(ConnectionLimits()) as server, connected(server) as client:
        with contextlib.suppress(OSError):
            client.sendall(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(4096).startswith(b"HTTP/1.1 400 ")


@given(st.binary(max_size=60) | st.from_regex(rb"\AGET [^ ]+ HTTP/1\.1(\r\n[ -~]+){0,3}\Z"))
@example(b" ? HTTP/1.0")
def test_a_head_is_a_request_or_nothing(head: bytes) -> None:
    request = parse_head(head)
    if request is not None:
        assert request.path
        assert " " not in request.path
        assert all(name == name.lower().strip() and name for name in request.headers)


def web_config(tmp_path: Path, text: str) -> str:
    file = tmp_path / "web.yml"
    file.write_text(text)
    return str(file)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_basic_auth_lets_in_who_knows_the_password_and_nobody_else(tmp_path: Path) -> None:
    file = web_config(tmp_path, f"basic_auth_users:\n  prometheus: {PASSWORD_HASH}\n")
    with exporting(web_config_file=file) as exporter:
        assert get(exporter, Authorization=basic("prometheus", "secret")).status == 200
        for header in (basic("prometheus", "wrong"), basic("other", "secret"), "Bearer x", "Basic"):
            answer = get(exporter, Authorization=header)
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Basic")
            assert b"llmagent" not in answer.body
        assert get(exporter, "/").status == 401


def test_tls_serves_the_certificate_that_is_on_disk_now(tmp_path: Path) -> None:
    first, key = self_signed(tmp_path, "first")
    second, second_key = self_signed(tmp_path, "second")
    file = web_config(
        tmp_path, "tls_server_config:\n  cert_file: first.crt\n  key_file: first.key\n"
    )
    with exporting(web_config_file=file) as exporter:
        assert get(exporter, tls=ssl.create_default_context(cafile=str(first))).status == 200
        trusts_second = ssl.create_default_context(cafile=str(second))
        with pytest.raises(ssl.SSLCertVerificationError):
            get(exporter, tls=trusts_second)
        second.replace(first)
        second_key.replace(key)
        assert get(exporter, tls=trusts_second).status == 200


def test_plain_http_to_a_tls_port_gets_nothing(tmp_path: Path) -> None:
    self_signed(tmp_path, "own")
    file = web_config(tmp_path, "tls_server_config: {cert_file: own.crt, key_file: own.key}")
    nothing = pytest.raises((http.client.HTTPException, ConnectionError))
    with exporting(web_config_file=file) as exporter, nothing:
        get(exporter)


def test_only_clients_with_a_certificate_are_served_where_one_is_required(tmp_path: Path) -> None:
    cert, _ = self_signed(tmp_path, "own")
    client_cert, client_key = self_signed(tmp_path, "client")
    file = web_config(
        tmp_path,
        "tls_server_config:\n  cert_file: own.crt\n  key_file: own.key\n"
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: client.crt\n",
    )
    with exporting(web_config_file=file) as exporter:
        trusting = ssl.create_default_context(cafile=str(cert))
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            get(exporter, tls=trusting)
        trusting.load_cert_chain(client_cert, client_key)
        assert get(exporter, tls=trusting).status == 200


def test_headers_of_the_web_config_are_on_every_answer(tmp_path: Path) -> None:
    file = web_config(tmp_path, "http_server_config: {headers: {X-Frame-Options: deny}}")
    with exporting(web_config_file=file) as exporter:
        assert get(exporter).headers["X-Frame-Options"] == "deny"
        assert get(exporter, "/none").headers["X-Frame-Options"] == "deny"
