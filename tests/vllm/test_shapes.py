# SPDX-License-Identifier: Apache-2.0
"""Real vLLM in two shapes, a start each: embeddings behind keys and TLS, two engines on a socket.

What no start is needed for comes with them: a way to start that a CPU build does not obey.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Boot
from tests.rig import binds
from tests.rig.container import Container
from tests.rig.installed import CONFIG, Agent
from tests.rig.show import GIB

START_SECONDS = 400
MODEL = "/srv/models/tiny-llama"
KEYS = ("corr3ct-horse-battery", "stap1e-of-the-night")
KEY_FILE = "/etc/llmagent/keys"
CUT = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x"
SOCKET = "/run/vllm/http.sock"

COMMON = f"""\
[service.vllm]
model = "{MODEL}"
python = "/opt/vllm/bin/python"
max_model_len = 512
max_num_seqs = 4
kv_cache_memory_bytes = 268435456
enforce_eager = true
"""
EMBEDS = f"""{COMMON}
api_key_file = "{KEY_FILE}"
ssl_certfile = "/etc/llmagent/tls.pem"
ssl_keyfile = "/etc/llmagent/tls.key"
ssl_ca_certs = "/etc/llmagent/tls.pem"
ssl_cert_reqs = 2
client_certfile = "/etc/llmagent/tls.pem"
client_keyfile = "/etc/llmagent/tls.key"
extra_args = ["--runner", "pooling", "--convert", "embed"]
"""
TWO_ENGINES = f"""{COMMON}
data_parallel_size = 2
api_server_count = 1
uds = "{SOCKET}"
"""
QUICK = """
[service.vllm.recovery]
poll_seconds = 1
canary_every_seconds = 5
"""


@pytest.fixture(scope="module")
def agent(boot_for_module: Boot) -> Agent:
    """Returns a machine with real vLLM, keys and a certificate; nothing is configured."""
    parts = [binds.vllm(), binds.models()]
    agent = Agent(boot_for_module("bookworm", binds=parts, memory_limit=8 * GIB))
    agent.install()
    agent.box.write(KEY_FILE, "".join(f"{key}\n" for key in KEYS))
    make = f"{CUT} -out /etc/llmagent/tls.pem -keyout /etc/llmagent/tls.key"
    agent.box.run(["bash", "-c", f"{make} && chmod 600 {KEY_FILE} /etc/llmagent/tls.*"])
    return agent


def verdicts(status: dict[str, Any]) -> dict[str, str]:
    return {check["item"]: check["verdict"] for check in status["verification"]}


def status_of(box: Container, *curl: str) -> str:
    argv = ["curl", "-sk", "-m", "60", "-o", "/dev/null", "-w", "%{http_code}", *curl]
    return box.run(argv, check=False, timeout=90).stdout


def test_a_cpu_build_is_refused_what_it_does_not_obey(agent: Agent) -> None:
    agent.box.write("/root/fork.toml", COMMON + 'start_method = "fork"\n')
    done = agent.box.run(["llmagent", "check", "/root/fork.toml"], check=False, timeout=300)
    assert done.returncode == 2
    assert "start_method" in done.stdout


def test_an_embedding_model_behind_keys_and_tls_both_ways_is_proven_and_shows_no_key(
    agent: Agent,
) -> None:
    box = agent.box
    box.write(CONFIG, EMBEDS)
    box.run(["systemctl", "reload", "llmagent"])
    status = agent.wait("serving", seconds=START_SECONDS)
    found = verdicts(status)
    assert found["embedding"] == "proven", status["verification"]
    assert found["kv_cache_memory_bytes"] == "proven", status["verification"]
    assert found["model"] == found["max_model_len"] == "proven"
    assert "completion" not in found
    assert status["hang_detection_off"] == ""
    url = "https://127.0.0.1:8000/v1/embeddings"
    body = json.dumps({"model": MODEL, "input": "hello"})
    ask = ("-H", "Content-Type: application/json", "-d", body, url)
    own = ("--cert", "/etc/llmagent/tls.pem", "--key", "/etc/llmagent/tls.key")
    for key, expected in ((KEYS[0], "200"), (KEYS[1], "200"), ("wrong", "401")):
        assert status_of(box, *own, "-H", f"Authorization: Bearer {key}", *ask) == expected
    assert status_of(box, "-H", f"Authorization: Bearer {KEYS[0]}", *ask) == "000"
    everywhere = "ps axww; systemctl show vllm; journalctl --no-pager; llmagent events --all"
    said = box.run(["bash", "-c", f"{everywhere}; cat /run/llmagent/status.json"]).stdout
    assert "LlamaModel" in said or "vllm" in said
    assert not any(key in said for key in KEYS)


def test_two_engines_on_a_socket_are_counted_and_one_that_dies_is_the_services_death(
    agent: Agent,
) -> None:
    box = agent.box
    before = agent.status().get("invocation_id", "")
    box.write(CONFIG, TWO_ENGINES + QUICK)
    box.run(["systemctl", "reload", "llmagent"])

    def serves() -> dict[str, Any] | None:
        status = agent.status()
        other = status["invocation_id"] != before
        return status if other and status["phase"] == "serving" else None

    status = box.wait_for(serves, START_SECONDS, "both engines to serve")
    assert status is not None
    found = verdicts(status)
    assert found["data_parallel_size"] == "proven", status["verification"]
    assert found["completion"] == "proven"
    assert SOCKET in status["url"]
    on_socket = ("--unix-socket", SOCKET, "http://localhost/health")
    assert status_of(box, *on_socket) == "200"
    assert status_of(box, "http://127.0.0.1:8000/health") == "000"
    assert status["hang_detection_off"] == ""

    box.run(["pkill", "-9", "-f", "VLLM::EngineCore_DP1"])
    box.wait_for(lambda: agent.events("failure"), 120, "the failure")
    assert agent.events("failure")[-1]["data"]["class"] in ("engine-dead", "engine-hung")
    box.wait_for(
        lambda: agent.status()["invocation_id"] not in ("", status["invocation_id"]),
        60,
        "the next start",
    )
    box.run(["systemctl", "stop", "vllm.service"], timeout=120)
