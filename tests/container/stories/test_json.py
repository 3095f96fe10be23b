# SPDX-License-Identifier: Apache-2.0
"""Each command that prints JSON prints what its shipped schema says, on a machine at work."""

from __future__ import annotations

import pytest

from tests.container.stories.stage import MODEL, Stage
from tests.container.test_telling import SINK, put_apprise
from tests.rig import scripted

NOTIFY = '\n[notify]\nurls_file = "/etc/llmagent/notify.urls"\n'
LOOKS = (
    *("status", "why", "verify", "events", "check", "render", "profiles", "diagnose vllm"),
    *("plan vllm", "doctor --offline", "status --hosts 127.0.0.1", "bundle --output /root/b.tgz"),
    *("bench vllm --batches 1 --contexts 16 --output-tokens 3",),
)
ACTS = ("pause vllm --for 1min", "resume vllm", "restart vllm", "drain vllm")


@pytest.mark.story("A9")
def test_every_command_prints_what_its_schema_says(stage: Stage) -> None:
    shipped = set(stage.says("ls /usr/share/llmagent/schema").split())
    stage.give_a_known_model()
    scripted.set_scenario(stage.box, {})
    named = ("--model", MODEL, "--python", scripted.PYTHON, "--port", "8000", "--yes")
    (proposed,) = stage.json("init", *named, "--dry-run")
    assert proposed["found"]["gpus"][0]["name"] == "NVIDIA H200"
    assert {"python": scripted.PYTHON, "version": "0.32.0"} in proposed["found"]["engines"]
    assert (proposed["plan"]["verdict"], proposed["written"]) == ("fits", False)
    asked = stage.says(f"llmagent init --model {MODEL} --python {scripted.PYTHON}", status=2)
    assert "there is no terminal to ask on: --yes agrees beforehand" in asked
    assert stage.json("init", *named)[0]["written"]
    again = stage.says(f"llmagent init --yes --model {MODEL}", status=2)
    assert "has [service.vllm] already" in again
    stage.json("import", "--name", "other", "--", "vllm", "serve", MODEL, status=None)
    stage.box.write("/root/sink.py", SINK)
    stage.says("systemd-run --quiet --unit=sink python3 /root/sink.py")
    stage.box.write("/etc/llmagent/notify.urls", "ntfy://127.0.0.1:8181/night\n", mode=0o600)
    stage.says(f"printf '{NOTIFY}' >>/etc/llmagent/agent.toml; systemctl reload llmagent")
    stage.wait("serving")

    for line in LOOKS:
        stage.json(*line.split(), status=None)
    for line in ACTS:
        assert stage.json(*line.split())[0]["done"], line
        if line.startswith("restart"):
            stage.wait("serving")
    stage.wait("stopped")
    stage.says("systemctl start vllm")
    stage.wait("serving")

    # A message reaches a person without Prometheus, and a drill says who was told of a death.
    put_apprise(stage)
    assert stage.json("notify", "--test")[0]["told"] == [{"name": "1 ntfy", "problem": ""}]
    (drilled,) = stage.json("drill", "vllm", "kill", "--yes")
    assert drilled["told_seconds"] is not None
    stage.says("systemctl stop sink; rm /etc/llmagent/notify.urls")
    played = {line.split()[0] for line in (*LOOKS, *ACTS)} | {"init", "import", "notify", "drill"}
    assert {f"{name}.json" for name in played} | {"status-hosts.json", "agent.toml.json"} == shipped
