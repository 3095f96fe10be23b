# SPDX-License-Identifier: Apache-2.0
"""The shapes in which vLLM is run: keys, TLS, a pause, an embedding model, several engines."""

from __future__ import annotations

from typing import Any

from tests.rig import scripted
from tests.rig.container import Container
from tests.rig.installed import OURS, Agent, service_table

KEY = "corr3ct-horse-battery"
SECOND = "stap1e-of-the-night"
KEYS = "/etc/llmagent/keys"
TOKEN = "hf_MustNotBeSeenAnywhere"
TOKEN_FILE = "/etc/llmagent/hf_token"
MAIN = "systemctl show --value -p MainPID"
CUT = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x"


def verdicts(status: dict[str, Any]) -> dict[str, str]:
    return {check["item"]: check["verdict"] for check in status["verification"]}


OF_ALL_BUT_THE_ENGINE = (
    "for p in /proc/[0-9]*; do grep -qs /vllm.service $p/cgroup || cat $p/environ; done"
)
"""The environment of every process that is none of the service's own."""


def hears_none_of(secrets: tuple[str, ...], box: Container) -> None:
    """Looks where everybody may look, into the journal, and into what the agent keeps and gives."""
    box.write("/root/secret", "".join(f"{secret}\n" for secret in secrets))

    def heard(command: str) -> tuple[int, int]:
        """Return its lines, and those with a secret: what is no text stays in the machine."""
        counts = f"({command}) 2>/dev/null | tee >(grep -ac . >&2) | grep -aFcf /root/secret"
        said = box.run(["bash", "-c", counts], check=False)
        return int(said.stderr), int(said.stdout)

    assert heard(f"cat {KEYS} {TOKEN_FILE}") == (len(secrets), len(secrets))
    for command in (
        "ps axww",
        "cat /proc/[0-9]*/cmdline",
        OF_ALL_BUT_THE_ENGINE,
        "curl -s http://127.0.0.1:9836/metrics; curl -s http://127.0.0.1:9836/status.json",
        "cat /var/lib/llmagent/* /run/llmagent/* /etc/llmagent/units/*",
        "rm -f /tmp/b.tgz; llmagent bundle --output /tmp/b.tgz >&2 && tar -xzOf /tmp/b.tgz",
        "systemctl cat vllm; systemctl show vllm",
        "cat /run/llmagent/status.json",
        "journalctl --no-pager",
        "llmagent events --format json",
        "llmagent render",
    ):
        lines, with_a_secret = heard(command)
        assert (lines > 0, with_a_secret) == (True, 0), command


def test_a_service_with_keys_and_tls_both_ways_is_proven_and_shows_no_key(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {})
    agent.box.write(KEYS, f"{KEY}\n{SECOND}\n")
    for name in ("tls", "own"):
        make = f"{CUT} -out /etc/llmagent/{name}.pem -keyout /etc/llmagent/{name}.key"
        agent.box.run(["bash", "-c", f"{make} && chmod 600 {KEYS} /etc/llmagent/{name}.*"])
    tls: dict[str, Any] = {
        "ssl_certfile": "/etc/llmagent/tls.pem",
        "ssl_keyfile": "/etc/llmagent/tls.key",
        "ssl_ca_certs": "/etc/llmagent/own.pem",
        "ssl_cert_reqs": 2,
        "client_certfile": "/etc/llmagent/own.pem",
        "client_keyfile": "/etc/llmagent/own.key",
    }
    agent.box.write(TOKEN_FILE, f"{TOKEN}\n", mode=0o600)
    agent.configure(service_table(**OURS, **tls, api_key_file=KEYS, hf_token_file=TOKEN_FILE))
    status = agent.wait("serving")
    assert verdicts(status)["completion"] == "proven"
    assert status["hang_detection_off"] == ""
    assert status["url"] == "https://127.0.0.1:8000"
    hears_none_of((KEY, SECOND, TOKEN), agent.box)
    for unit in ("llmagent", "vllm"):
        limits = agent.box.run(["bash", "-c", f"cat /proc/$({MAIN} {unit})/limits"]).stdout
        assert "Max core file size 0 0 bytes" in " ".join(limits.split()), unit
    models = "https://127.0.0.1:8000/v1/models"
    for given, expected in ((KEY, "200"), (SECOND, "200"), ("wrong", "401")):
        header = f"Authorization: Bearer {given}"
        ask = ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "-H", header, models]
        own = ["--cert", "/etc/llmagent/own.pem", "--key", "/etc/llmagent/own.key"]
        assert agent.box.run([*ask, *own]).stdout == expected
        assert agent.box.run(ask, check=False).stdout == "000"
    assert ", 0 contradicted, 0 unknown" in agent.box.run(["llmagent", "verify"]).stdout


def test_a_socket_is_open_to_the_agent_and_to_the_group_and_to_nobody_else(agent: Agent) -> None:
    """vLLM makes it as its umask has it; the agent is root without root's right to write to it."""
    box, place = agent.box, "/run/vllm/api.sock"
    scripted.set_scenario(box, {})
    agent.configure(service_table(**OURS, uds=place))
    status = agent.wait("serving")
    assert verdicts(status)["completion"] == "proven"
    assert (status["url"], status["hang_detection_off"]) == (f"unix:{place}", "")
    box.run(["useradd", "--groups", "vllm", "proxy-of-ours"])
    ask = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", place]
    for user, answer in (("proxy-of-ours", "200"), ("nobody", "000")):
        argv = ["runuser", "-u", user, "--", *ask, "http://localhost/health"]
        assert box.run(argv, check=False).stdout == answer, user


def test_a_key_that_a_drop_in_sets_kills_nothing_and_everybody_hears_of_it(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {})
    agent.box.write("/etc/llmagent/own.env", f"VLLM_API_KEY={KEY}\n")
    drop_in = "[Service]\nEnvironmentFile=/etc/llmagent/own.env\n"
    agent.box.run(["mkdir", "-p", "/etc/systemd/system/vllm.service.d"])
    agent.box.write("/etc/systemd/system/vllm.service.d/own.conf", drop_in)
    try:
        agent.configure(service_table(**OURS))
        status = agent.wait("serving")
        assert verdicts(status)["completion"] == "unknown"
        assert status["hang_detection_off"] == "needs a key: api_key_file"
        scripted.cue(agent.box, "busy", tokens_per_second=0)
        agent.box.run(["sleep", "15"])
        assert agent.status()["main_pid"] == status["main_pid"]
        assert agent.status()["restarts"] == {}
        assert 'llmagent_service_hang_detection{service="vllm"} 0.0' in agent.metrics()
        assert "hang detection is off" in agent.box.run(["llmagent", "status"]).stdout
    finally:
        agent.box.run(["rm", "-r", "/etc/systemd/system/vllm.service.d"])


def test_a_paused_engine_is_left_alone_until_it_resumes(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {})
    switch = '[service.vllm.environment]\nVLLM_SERVER_DEV_MODE = "1"\n'
    agent.configure(service_table(**OURS), switch)
    pid = agent.wait("serving")["main_pid"]
    scripted.cue(agent.box, "pause")
    scripted.cue(agent.box, "busy", tokens_per_second=0)
    off = agent.box.wait_for(
        lambda: agent.status().get("hang_detection_off"), 20, "hang detection to be off"
    )
    assert "paused" in str(off)
    agent.box.run(["sleep", "15"])
    assert agent.status()["main_pid"] == pid
    scripted.cue(agent.box, "resume")
    scripted.cue(agent.box, "calm")
    agent.box.wait_for(
        lambda: agent.status().get("hang_detection_off") == "", 30, "hang detection to be on"
    )
    assert agent.status()["restarts"] == {}


def test_an_embedding_model_proves_itself_and_is_killed_when_it_hangs(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {"task": "embed"})
    agent.configure(service_table(**OURS))
    status = agent.wait("serving")
    assert verdicts(status)["embedding"] == "proven"
    assert "completion" not in verdicts(status)
    scripted.cue(agent.box, "hang")
    agent.box.wait_for(
        lambda: agent.status()["restarts"] == {"engine-hung": 1}, 60, "the hung engine's end"
    )
    agent.wait("serving")


def test_one_engine_of_two_that_hangs_is_the_death_of_the_service(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {})
    agent.configure(service_table(**OURS, data_parallel_size=2))
    agent.wait("serving")
    scripted.cue(agent.box, "busy", tokens_per_second=20, waiting=0, seconds=0)
    agent.box.run(["sleep", "15"])
    assert agent.status()["restarts"] == {}
    scripted.cue(agent.box, "hang-rank", rank=1)
    agent.box.wait_for(
        lambda: agent.status()["restarts"] == {"engine-hung": 1}, 60, "the hung engine's end"
    )
    (kill,) = agent.events("kill")
    assert "engine 1: no token for" in kill["message"]
    agent.wait("serving")


SQUATTER = """
import http.server, json
class Squatter(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with open("/tmp/heard", "a") as heard:
            heard.write(f"{self.command} {self.path} {self.headers.get('Authorization')}\\n")
        paths = {"/v1/completions": {}}
        body = json.dumps({"paths": paths, "data": [{"id": "m"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Squatter).serve_forever()
"""


def test_who_sits_on_the_port_while_vllm_starts_is_not_told_the_key(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {"phase_seconds": {"import": 30}}, {})
    agent.box.write(KEYS, f"{KEY}\n")
    agent.box.write("/tmp/squatter.py", SQUATTER)
    agent.box.run(["chmod", "600", KEYS])
    squat = "systemd-run --uid=nobody --unit=squatter /usr/bin/python3 /tmp/squatter.py"
    agent.box.run(["bash", "-c", f"install -m 666 /dev/null /tmp/heard; {squat}"])
    try:
        agent.configure(service_table(**OURS, api_key_file=KEYS))
        heard = ["grep", "-c", "/v1/", "/tmp/heard"]
        agent.box.wait_for(
            lambda: int(agent.box.run(heard, check=False).stdout or 0) > 1, 40, "requests"
        )
        assert KEY not in agent.box.run(["cat", "/tmp/heard"]).stdout
    finally:
        agent.box.run(["systemctl", "stop", "squatter"], check=False)
    status = agent.wait("serving", seconds=90)
    agent.box.wait_for(
        lambda: verdicts(agent.status()).get("completion") == "proven", 60, "a proof by the key"
    )
    assert status["hang_detection_off"] in ("", "needs a key: api_key_file")
    assert agent.status()["hang_detection_off"] == ""
