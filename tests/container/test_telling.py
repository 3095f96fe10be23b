# SPDX-License-Identifier: Apache-2.0
"""The installed agent tells a person, by a program of its own, whatever one notifier does."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from tests.rig import scripted
from tests.rig.installed import OURS, Agent, service_table

SINK = """
import http.server, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        with open("/tmp/asked.txt", "a") as file:
            file.write(self.path + " " + body.replace("\\n", " / ") + "\\n")
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", 8181), Handler).serve_forever()
"""
SECRET = "s3cretword"
NOTIFY = """
[notify]
urls_file = "/etc/llmagent/notify.urls"
dead_mans_switch_file = "/etc/llmagent/ping"
dead_mans_switch_seconds = 60
"""
OF_APPRISE = (
    *("apprise", "requests", "requests_oauthlib", "oauthlib", "markdown"),
    *("certifi", "click", "charset_normalizer", "idna"),
)
"""Apprise and what it imports, as Python's own packages: the machine has no network."""


def put_apprise(agent: Agent) -> None:
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = agent.box.run(["python3", "-c", where]).stdout.strip()
    for name in OF_APPRISE:
        place = Path(str(importlib.import_module(name).__file__)).parent
        agent.box.put(place, f"{packages}/{name}")


def asked(agent: Agent, path: str) -> list[str]:
    """Returns the bodies that the sink got on a path."""
    lines = agent.box.run(["cat", "/tmp/asked.txt"], check=False).stdout.splitlines()
    return [line.partition(" ")[2] for line in lines if line.split(" ")[0] == path]


def document(agent: Agent) -> dict[str, Any]:
    """Returns status.json."""
    found: dict[str, Any] = json.loads(agent.box.run(["cat", "/run/llmagent/status.json"]).stdout)
    return found


def test_a_person_is_told_once_and_a_broken_notifier_hurts_nobody(agent: Agent) -> None:
    box = agent.box
    box.write("/tmp/sink.py", SINK)
    box.run(["systemd-run", "--unit=sink", "python3", "/tmp/sink.py"])
    box.write("/etc/llmagent/notify.urls", f"ntfy://user:{SECRET}@127.0.0.1:8181/night\n")
    box.write("/etc/llmagent/ping", f"http://127.0.0.1:8181/{SECRET}\n")
    box.run(["chmod", "600", "/etc/llmagent/notify.urls", "/etc/llmagent/ping"])
    scripted.set_scenario(box, {})
    agent.configure(service_table(**OURS), NOTIFY)
    agent.wait("serving")
    tried = box.run(["llmagent", "notify", "--test"], check=False)
    assert tried.returncode == 1
    assert "apprise is not installed: `apt install apprise`" in tried.stdout
    put_apprise(agent)
    tried = box.run(["llmagent", "notify", "--test"])
    assert "1 ntfy: told" in tried.stdout
    assert "test: this is llmagent" in asked(agent, "/")[0]
    box.wait_for(lambda: asked(agent, f"/{SECRET}"), 30, "the dead-man's switch to be asked for")

    # A drill: the engine is killed for real, and what came of it is told, to whom, and how soon.
    refused = box.run(["llmagent", "drill", "vllm", "kill"], check=False)
    assert (refused.returncode, "say --yes" in refused.stderr) == (2, True)
    before = agent.pid("vllm.service")
    drilled = json.loads(
        box.run(
            ["llmagent", "drill", "vllm", "kill", "--yes", "--format", "json"], timeout=120
        ).stdout
    )
    assert agent.pid("vllm.service") not in (0, before)
    assert drilled["serving_seconds"] < 60
    assert drilled["told_seconds"] is not None
    assert [row["kind"] for row in drilled["rows"]][:2] == ["drill", "died"]
    (away,) = [body for body in asked(agent, "/") if "vllm was away" in body]
    assert "drill: " in away

    # What needs a person is told once, though one of two notifiers is down, and tried again there.
    box.write(
        "/etc/llmagent/notify.urls",
        f"json://user:{SECRET}@127.0.0.1:9/down?rto=1&cto=1\n"
        f"ntfy://user:{SECRET}@127.0.0.1:8181/night\n",
    )
    line = "api_server.py: error: unrecognized arguments: --swap-space=4"
    scripted.set_scenario(box, {"fail_at": "import", "fail_lines": [line], "fail_status": 2})
    scripted.cue(box, "engine-dead")
    held = agent.wait("held", seconds=90)
    box.wait_for(
        lambda: [body for body in asked(agent, "/") if "vllm is held" in body],
        60,
        "the message of the hold",
    )
    box.wait_for(lambda: asked(agent, f"/{SECRET}/fail"), 60, "the switch to hear of it")
    box.wait_for(lambda: document(agent)["notify"]["problem"], 30, "the failure to be told")
    notify = document(agent)["notify"]
    assert notify["unsent"] == 1
    assert "1 JSON" in notify["problem"]
    assert "messages could not be sent" in box.run(["llmagent", "status"]).stdout
    assert "llmagent_notify_failing 1.0" in agent.metrics()
    told = [body for body in asked(agent, "/") if "vllm is held" in body]
    assert len(told) == 1
    assert held["held"]["what_to_do"].split(":")[0][:20] in told[0]

    # Nothing secret is where others may read it, and nothing of Apprise is in the daemon.
    everything = box.run(["journalctl", "--no-pager", "--all"]).stdout
    assert SECRET not in everything + json.dumps(document(agent))
    pid = agent.pid("llmagent")
    assert "apprise" not in box.run(["cat", f"/proc/{pid}/maps"]).stdout
    print(box.run(["grep", "-E", "VmRSS|Threads", f"/proc/{pid}/status"]).stdout)
