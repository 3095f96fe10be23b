# SPDX-License-Identifier: Apache-2.0
"""A burst of lines: none is lost, and the agent is not behind for long."""

from __future__ import annotations

import re

from tests.conftest import Boot
from tests.rig import binds, scripted
from tests.rig.installed import OURS, Agent, service_table

LINES = 20_000


def lines_read(agent: Agent) -> int:
    found = re.search(r"^llmagent_service_journal_lines_total{.*} (\S+)$", agent.metrics(), re.M)
    return int(float(found.group(1))) if found else 0


def test_a_burst_of_20000_lines_is_read_whole_and_at_once(boot: Boot) -> None:
    agent = Agent(boot("bookworm", binds=[binds.scripted_engine()]))
    agent.install()
    scripted.set_scenario(agent.box, {})
    agent.configure(service_table(**OURS))
    agent.wait("serving")
    before = lines_read(agent)
    scripted.cue(agent.box, "flood", lines=LINES)
    agent.box.wait_for(lambda: lines_read(agent) >= before + LINES, 15, "all lines to be read")
    assert 'llmagent_service_journal_suppressed_lines_total{service="vllm"} 0.0' in agent.metrics()
    last = agent.box.journal("vllm.service").count("flood line ")
    assert last == LINES
    assert agent.status()["phase"] == "serving"
    assert agent.status()["restarts"] == {}
