# SPDX-License-Identifier: Apache-2.0
"""The operator steers the installed agent: a pause, a kill -9 in between, a drain, a restart."""

from __future__ import annotations

import subprocess

from tests.rig import scripted
from tests.rig.installed import OURS, Agent, service_table


def asks(agent: Agent, *words: str, user: str = "root") -> subprocess.CompletedProcess[str]:
    return agent.box.run(["runuser", "-u", user, "--", "llmagent", *words], check=False)


def test_an_operator_steers_the_agent_and_it_remembers_what_it_acknowledged(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {})
    agent.configure(service_table(**OURS))
    agent.wait("serving")
    refused = asks(agent, "pause", "vllm", user="nobody")
    assert refused.returncode == 4
    assert "group llmagent" in refused.stderr
    agent.box.run(["useradd", "--groups", "llmagent", "alice"])
    assert (
        "paused by alice for 1 h"
        in asks(agent, "pause", "vllm", "--for", "1h", user="alice").stdout
    )

    # What was acknowledged outlives a kill -9, and nothing is done in the pause.
    agent.box.run(["systemctl", "kill", "-s", "KILL", "llmagent"])
    agent.box.wait_for(lambda: agent.status().get("paused"), 20, "the agent to be back")
    engine = agent.pid("vllm.service")
    scripted.cue(agent.box, "hang")
    assert agent.status()["paused"]["by"] == "alice"
    assert 'llmagent_service_paused{service="vllm"} 1.0' in agent.metrics()
    assert "left alone; `llmagent resume vllm` ends it" in asks(agent, "status").stdout
    agent.box.wait_for(lambda: agent.events("left-alone"), 40, "the hang to be told of")
    assert agent.pid("vllm.service") == engine
    assert asks(agent, "resume", user="alice").returncode == 0

    # What hangs is brought back; then it is restarted in an idle moment, and drained.
    agent.box.wait_for(
        lambda: agent.pid("vllm.service") not in (0, engine), 40, "the hung engine to be replaced"
    )
    agent.wait("serving")
    engine = agent.pid("vllm.service")
    assert asks(agent, "restart", "vllm", "--when-idle").returncode == 0
    agent.box.wait_for(
        lambda: agent.pid("vllm.service") not in (0, engine), 40, "another process to serve"
    )
    agent.wait("serving")
    assert asks(agent, "drain", "vllm", "--for", "20s").returncode == 0
    assert "drained by root" in agent.wait("stopped")["reason"]
    assert agent.box.show("vllm.service", "ActiveState")["ActiveState"] == "inactive"
    assert asks(agent, "restart", "vllm").returncode == 0
    agent.wait("serving")
    kinds = [event["kind"] for event in agent.events()]
    assert {"paused", "resumed", "restart-planned", "restart", "drain", "stopped"} <= {*kinds}
