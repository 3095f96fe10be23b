# SPDX-License-Identifier: Apache-2.0
"""One host's word over another one's real exporter."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import bcrypt
import pytest

from agent.core.cluster.group import PeerAnswered
from agent.core.cluster.member import Generation, Member, Stance, member_of
from agent.core.codec import encode
from agent.core.settings.cluster import ClusterSettings
from agent.daemon.sources.peers import PeerSource, addresses_of
from agent.errors import AgentError
from tests.given.cluster.two_hosts import of_two_here
from tests.given.fake_http import says, serving
from tests.given.some_snapshot import SNAPSHOT
from tests.unit.daemon.sources.words import exporting, told

WORD = Member(
    *(0, Generation(7, 1), Stance.SERVING),
    head=True,
    reason="serving",
    sees=(1,),
    held_back="GPU 3 is held at 350 W for its heat",
)
FOLLOWER = of_two_here(1)


def asked(
    address: str, cluster: ClusterSettings = FOLLOWER, service: str = "vllm", port: int = 1
) -> PeerAnswered:
    said: queue.SimpleQueue[object] = queue.SimpleQueue()
    source = PeerSource(service, address, cluster, port, lambda: False, said.put, lambda: 5.0)
    source.wake()
    source.look()
    answer = said.get_nowait()
    assert isinstance(answer, PeerAnswered)
    return answer


def test_a_hosts_word_arrives_as_it_was_said_with_the_name_of_the_host() -> None:
    with exporting(told(WORD)) as address:
        answer = asked(address)
    assert answer.member == replace(WORD, host=socket.gethostname())
    assert (answer.problem, answer.engine_open) == ("", None)


def test_a_service_that_is_no_group_there_is_said() -> None:
    with exporting(SNAPSHOT) as address:
        answer = asked(address)
    assert answer.member is None
    assert answer.problem == "has no [service.vllm.cluster]"


def test_a_word_is_for_who_knows_the_password(tmp_path: Path) -> None:
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    config = tmp_path / "web.yml"
    config.write_text(f'basic_auth_users:\n  peer: "{hashed}"\n')
    password = tmp_path / "password"
    password.write_text("secret\n")
    knows = replace(FOLLOWER, user="peer", password_file=str(password))
    with exporting(told(WORD), str(config)) as address:
        assert "wants a user and a password" in asked(address).problem
        assert asked(address, knows).member is not None


def test_an_agent_that_knows_no_groups_is_told_as_one() -> None:
    with serving() as older:
        older.replies["GET /cluster.json"] = says("not found", 404)
        assert "knows nothing of groups of hosts" in asked(older.url).problem


def test_a_password_file_that_is_not_there_is_a_fault_of_the_source() -> None:
    lost = replace(FOLLOWER, user="peer", password_file="/nowhere")
    with pytest.raises(AgentError, match="/nowhere cannot be read"):
        asked("http://127.0.0.1:1", lost)


@contextmanager
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_the_engine_of_a_head_is_looked_at_while_its_agent_is_away() -> None:
    with listening() as port:
        assert asked("http://127.0.0.1:1", replace(FOLLOWER, master_port=port)).engine_open
    assert asked("http://127.0.0.1:1", replace(FOLLOWER, master_port=port)).engine_open is False


def test_silence_tells_nothing_of_the_engine_as_a_refusal_does() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        # Nobody accepts them, so that the kernel drops what asks for one more.
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        silent = asked("http://127.0.0.1:1", replace(FOLLOWER, master_port=port))
        for one in waiting:
            one.close()
    assert silent.engine_open is None
    assert not silent.cut_off, "nothing that was sent to it is missing"


def test_the_addresses_of_a_host_are_those_of_its_name_in_the_peers_address() -> None:
    assert addresses_of("http://10.99.0.2:9836") == {"10.99.0.2"}
    assert addresses_of("https://[fd00::2]:9836") == {"fd00::2"}
    assert "127.0.0.1" in addresses_of("http://localhost:9836")
    assert addresses_of("http://no-such-host.invalid:9836") == frozenset()


def test_of_replicas_only_an_open_port_tells_something() -> None:
    replicas = ClusterSettings(
        peers=("http://127.0.0.1:1",),
        host_ip="127.0.0.1",
        data_parallel_address="127.0.0.1",
        data_parallel_start_rank=1,
        data_parallel_size_local=1,
    )
    with listening() as port:
        assert asked("http://127.0.0.1:1", replicas, port=port).engine_open is True
    assert asked("http://127.0.0.1:1", replicas, port=port).engine_open is None


def test_who_takes_requests_himself_does_not_look_at_the_engines_of_others() -> None:
    head = replace(FOLLOWER, node_rank=0)
    assert asked("http://127.0.0.1:1", head).engine_open is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"format": 2, "services": {}}',
        b'{"format": 1, "services": {"vllm": []}}',
        b'{"format": 1, "services": {"vllm": {"member": 0}}}',
        b'{"format": 1, "services": {"vllm": {"member": -1, "generation": {}, "stance": "down"}}}',
        b'{"format": 1, "services": {"vllm": {"member": 0, "generation":'
        b' {"number": 1e300, "begun_by": 0}, "stance": "down"}}}',
    ],
)
def test_what_is_no_word_of_an_agent_is_one_sentence(body: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            connection.recv(4096)
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode() + body)
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        answered = asked(
            f"http://127.0.0.1:{server.getsockname()[1]}", replace(FOLLOWER, node_rank=0)
        )
    assert answered.member is None
    assert answered.problem


def test_no_more_of_a_strangers_word_is_believed_than_there_can_be() -> None:
    lessons = {
        "max_num_seqs": {"value": 8, "version": 1, "by": 0, "why": "x\x1b[31m"},
        "max_model_len": {"value": -1, "version": 1, "by": 0},
        "gpu_memory_utilization": {"value": True, "version": 1, "by": 0},
        "model": {"value": 1, "version": 1, "by": 0},
        "LD_PRELOAD=/tmp/x.so": {"value": True, "version": 1, "by": 0},
        "VLLM_USE_DEEP_GEMM=0": {"value": True, "version": 1, "by": 0},
        "--worker-cls evil": {"value": True, "version": 1, "by": 0},
    }
    word = encode(replace(WORD, reason="a\nb" * 500, held_back="c\x1b" * 500)) | {
        "lessons": lessons,
        "paused_by": "root",
        "paused_seconds": 1e12,
    }
    member = member_of({"format": 1, "host": "x\x07", "services": {"vllm": word}}, "vllm")
    assert member is not None
    assert set(member.lessons) == {"max_num_seqs", "VLLM_USE_DEEP_GEMM=0"}
    assert member.lessons["max_num_seqs"].why.isprintable()
    assert member.host == "x?"
    assert len(member.reason) <= 300
    assert member.held_back.isprintable()
    assert len(member.held_back) <= 300
    assert member.paused_seconds <= 7 * 86400
