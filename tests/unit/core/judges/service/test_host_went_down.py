# SPDX-License-Identifier: Apache-2.0
"""After a boot: a host that was shut down is told from one that was reset."""

from __future__ import annotations

from pathlib import Path

from agent.core.failures.classes import FailureClass
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.observations import AgentStarted
from agent.core.state.phases import Phase
from agent.daemon.recorder import Recorder
from agent.host.store.store import Store
from tests.given.simulated_host import SimulatedHost


def serving() -> SimulatedHost:
    host = SimulatedHost({"vllm": ServicePolicy(Settings("vllm", "/srv/models/llama"))})
    host.agent_starts()
    assert host.serving_within(300)
    return host


def test_a_reset_is_told_counted_and_what_served_is_started() -> None:
    host = serving()
    decision = host.observe(AgentStarted(host.now, "another boot", orderly=False))
    told = [line.message for line in decision.news]
    assert told[0].startswith("the host was reset: it went down without a shutdown")
    assert host.service().phase is Phase.WAITING
    assert host.service().restarts == {FailureClass.HOST_RESET: 1}


def test_an_orderly_reboot_is_no_failure() -> None:
    host = serving()
    decision = host.observe(AgentStarted(host.now, "another boot"))
    assert decision.news[0].message == "the host was rebooted"
    assert host.service().restarts == {}


def test_an_agent_that_was_not_asked_to_stop_remembers_so(tmp_path: Path) -> None:
    with Store.open(tmp_path / "llmagent.db")[0] as store:
        assert Recorder(store).was_stopped(), "nothing is known of a first start"
    with Store.open(tmp_path / "llmagent.db")[0] as store:
        recorder = Recorder(store)
        assert not recorder.was_stopped(), "killed, or the host went down"
        recorder.stopped()
    with Store.open(tmp_path / "llmagent.db")[0] as store:
        assert Recorder(store).was_stopped()
