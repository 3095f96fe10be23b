# SPDX-License-Identifier: Apache-2.0
"""Every border at which foreign bytes come in: how the agent reads them there."""

from __future__ import annotations

import contextlib
import json
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.config.agent_toml import parse as parse_agent_toml
from agent.core.engine.metrics import scan
from agent.core.past.past import Past
from agent.core.planner.config_keys import NotAModelError
from agent.core.planner.model import model_of
from agent.core.planner.plan import make_plan
from agent.core.planner.question import PlanRequest
from agent.core.planner.terms.formats import UnknownQuantizationError
from agent.daemon.exporter.history import History
from agent.daemon.exporter.http_server import parse_head
from agent.daemon.exporter.page import Page
from agent.errors import ConfigError, UsageError
from agent.host.models.files import weights_gib
from agent.host.models.json_file import parse as parse_json
from agent.host.models.known import known_models
from agent.host.probes.model import model_files
from agent.host.store.store import Event, Store
from agent.host.vllm.api import VllmApi
from agent.host.web.config_file import read_web_config
from tests.fuzz.driver import Border
from tests.fuzz.log import log
from tests.fuzz.remembered import state
from tests.fuzz.taken_in import taken_in
from tests.fuzz.words import cluster, control
from tests.given.some_snapshot import SNAPSHOT
from tests.rig.paths import REPO

METRICS = b"""\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 2.0
vllm:num_requests_waiting{engine="0",model_name="m"} 0.0
vllm:prompt_tokens_total{engine="0",model_name="m"} 1234.0
vllm:generation_tokens_total{engine="0",model_name="m"} 5678.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:cache_config_info{block_size="16",cache_dtype="auto",num_gpu_blocks="100"} 1.0
vllm:engine_sleep_state{sleep_state="awake"} 1.0
vllm:time_to_first_token_seconds_count{engine="0",model_name="m"} 9.0
vllm:time_to_first_token_seconds_sum{engine="0",model_name="m"} 4.5
"""


def metrics() -> Border:
    """Return the border of /metrics."""
    words = tuple(line.split(b"{")[0] for line in METRICS.splitlines()[1:])
    return Border("metrics", lambda content: _none(scan(content)), (METRICS,), words)


def _none(_taken: object) -> None:
    """Forget what came of it: only that something came counts."""


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ANSWERS = (
    HEAD + b"Content-Length: 2\r\n\r\n{}",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    HEAD + b'\r\n{"data": [{"id": "m", "max_model_len": 2048}]}',
    HEAD + b'\r\n{"version": "0.32.0"}',
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\n" + METRICS,
    b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Set-Cookie: a=b; Path=/\r\n\r\n{}",
)


@contextmanager
def http() -> Iterator[Border]:
    """Return the border of vLLM's HTTP answers: a real socket, the real client."""
    said = [b""]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_say, args=(listener, said), daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def take(content: bytes) -> None:
            said[0] = content
            api = VllmApi(url, connect_seconds=0.2, read_seconds=0.2)
            for ask in (api.health, api.counters, api.models, api.version):
                _none(ask())

        words = (b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"\r\n\r\n", b"HTTP/1.1 ")
        yield Border(
            "http", take, ANSWERS, (*words, b"Content-Encoding: gzip\r\n", b"Location: /\r\n")
        )


def _say(listener: socket.socket, said: list[bytes]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, contextlib.suppress(OSError):
            connection.settimeout(1.0)
            connection.recv(65536)
            connection.sendall(said[0])


def config_json() -> Border:
    """Return the border of a model's config.json."""

    def take(content: bytes) -> None:
        try:
            document = parse_json(content)
        except ValueError:
            return
        if isinstance(document, dict):
            with contextlib.suppress(NotAModelError, UnknownQuantizationError):
                make_plan(model_of(document), PlanRequest(23.5))

    known = [json.dumps(dict(table)).encode() for table in list(known_models().values())[:40]]
    keys = {key for table in known_models().values() for key in table}
    return Border("config.json", take, known, tuple(f'"{key}": '.encode() for key in sorted(keys)))


HEADER = b'{"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}}'
INDEX = b'{"metadata":{"total_size":8},"weight_map":{"a":"m.safetensors"}}'


def checkpoint(directory: Path) -> Border:
    """Return the border of a checkpoint's files."""

    def take(content: bytes) -> None:
        for name, whole in (
            ("model.safetensors.index.json", content),
            ("m.safetensors", len(content).to_bytes(8, "little") + content + bytes(8)),
            ("m.safetensors", content),
        ):
            for file in directory.iterdir():
                file.unlink()
            (directory / name).write_bytes(whole)
            with contextlib.suppress(UsageError):
                weights_gib(directory)
            _none(model_files(str(directory), None, ""))

    words = (b'"data_offsets":[', b'"weight_map":{', b'"__metadata__":{', b'"dtype":"F32"')
    return Border("checkpoint", take, (HEADER, INDEX), words)


def agent_toml() -> Border:
    """Return the border of agent.toml."""

    def take(content: bytes) -> None:
        with contextlib.suppress(ConfigError, UnicodeDecodeError):
            parse_agent_toml(content.decode(), "agent.toml")

    shipped = (REPO / "etc/agent.toml").read_bytes()
    plain = shipped.replace(b"\n# ", b"\n").replace(b"\n#", b"\n")
    words = tuple(line.split(b"=")[0] + b"=" for line in plain.splitlines() if b"=" in line)
    return Border("agent.toml", take, (shipped, plain), words)


WEB = (
    b"basic_auth_users: {a: '$2b$10$" + b"x" * 53 + b"'}\n",
    b"tls_server_config: {cert_file: c, key_file: k, min_version: TLS12}\n",
    b"http_server_config: {http2: true, headers: {X-Frame-Options: deny}}\n",
)


def web_config(directory: Path) -> Border:
    """Return the border of the metrics port's web config file."""

    def take(content: bytes) -> None:
        (directory / "web.yml").write_bytes(content)
        with contextlib.suppress(ConfigError):
            _none(read_web_config(directory / "web.yml"))

    words = (
        b"!!timestamp ",
        b"!!int ",
        b"!!float ",
        b"!!bool ",
        b"&a ",
        b"*a",
        b"<<: ",
        b"? ",
        b"- ",
    )
    return Border("web-config", take, WEB, words)


def page(directory: Path) -> Border:
    """Return the border of the status page: what a browser, or anybody, asks the metrics port."""
    store, _ = Store.open(directory / "page.db")
    with store:
        store.record({}, [Event(float(n), "vllm", "start", f"start {n}", {}) for n in range(9)])
    past = Past()
    shown = Page(
        lambda: SNAPSHOT, lambda since: past.document(since, 0.0), History(store.path).read
    )

    def take(content: bytes) -> None:
        request = parse_head(content)
        answer = None if request is None else shown.answer(request)
        assert answer is None or answer.status in (200, 304, 400, 404, 503)

    paths = (
        b"/",
        b"/status.json",
        b"/past.json?since=60",
        b"/events.json?before=5",
        b"/manual/a.7.html",
    )
    seeds = [b"GET " + path + b" HTTP/1.1\r\nAccept-Encoding: gzip" for path in paths]
    words = (
        b"?after=",
        b"&before=",
        b"%00",
        b"../",
        b"/manual/",
        b"If-None-Match: ",
        b"1e999",
        b"gzip;q=0",
    )
    return Border("page", take, seeds, words)


@contextmanager
def borders() -> Iterator[dict[str, Border]]:
    """Return all borders that need no library of the rig, by name."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two, http() as web:
        plain: tuple[Callable[[], Border], ...] = (
            *(metrics, config_json, agent_toml, log),
            *(control, cluster),
        )
        every = [make() for make in plain]
        every += [web, checkpoint(Path(one)), web_config(Path(two)), page(Path(two))]
        every += [state(Path(two)), taken_in(Path(one))]
        yield {border.name: border for border in every}
