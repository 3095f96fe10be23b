# SPDX-License-Identifier: Apache-2.0
"""A server whose HTTP side is not reached: transcripts of TLS and addresses set in a drop-in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.actions import Action, Canary, Verify
from agent.core.state.observations import CanaryDone, Verified
from agent.core.state.phases import Phase
from tests.given.simulated_host import SimulatedHost

HOUR = 3600.0
BROKE = "the connection broke: /v1/completions: Connection reset by peer"


class Unreachable(SimulatedHost):
    """A host whose engine serves, and answers no request of the agent's while `away`."""

    def __init__(self, *, answered: bool = False) -> None:
        super().__init__({"vllm": ServicePolicy(Settings("vllm", "/srv/m", max_model_len=8192))})
        self.metrics_are_silent = True
        self.away = True
        self.answered = answered
        """What the verification says of a server that is away."""
        self.lose_actions = self._lose

    def _lose(self, action: Action) -> bool:
        match action:
            case Verify(service, invocation) if self.away:
                self.observe(Verified(self.now, service, invocation, (), self.answered, BROKE))
                return True
            case Canary(service, invocation) if self.away:
                self.observe(CanaryDone(self.now, service, invocation, False, 0.1, BROKE))
                return True
            case _:
                return False


def told(host: SimulatedHost, kind: str) -> list[str]:
    return [line.message for line in host.history if line.kind == kind]


@pytest.mark.parametrize("answered", [False, True])
def test_a_server_behind_tls_of_a_drop_in_is_never_killed_and_everybody_hears_why(
    *, answered: bool
) -> None:
    """Seen: --ssl-certfile and --ssl-cert-reqs 2 in a drop-in, on vLLM 0.32: told, same run."""
    host = Unreachable(answered=answered)
    host.agent_starts()
    host.carry_out()
    host.pass_time(host.start_takes + 180, step=5)
    assert len(told(host, "hang-detection")) == 1
    host.pass_time(8 * HOUR, step=5)
    service = host.service()
    assert service.phase is Phase.SERVING
    assert told(host, "kill") == []
    assert len(host.starts) == 1
    (once,) = told(host, "hang-detection")
    assert "never reached" in once
    assert BROKE in once
    assert service.live.unjudged


def test_an_agent_that_starts_again_beside_it_does_not_kill_it_either() -> None:
    host = Unreachable()
    host.agent_starts()
    host.carry_out()
    host.pass_time(HOUR, step=5)
    host.agent_starts()
    host.carry_out()
    host.pass_time(2 * HOUR, step=5)
    assert told(host, "kill") == []
    assert host.service().phase is Phase.SERVING


@pytest.mark.parametrize("restarts", [False, True], ids=["", "the agent starts again meanwhile"])
def test_a_front_end_that_answered_and_then_falls_silent_is_killed_as_before(
    restarts: bool,
) -> None:
    host = Unreachable()
    host.metrics_are_silent = host.away = False
    host.agent_starts()
    host.carry_out()
    assert host.serving_within(120)
    host.pass_time(HOUR, step=5)
    host.metrics_are_silent = host.away = True
    if restarts:
        host.agent_starts()
        host.carry_out()
    host.pass_time(HOUR, step=5)
    assert told(host, "kill") != []


def test_what_somebody_stops_is_not_killed_for_its_silence() -> None:
    """Seen: `systemctl restart` of an engine that drained; a kill canceled the operator's job."""
    host = Unreachable()
    host.metrics_are_silent = host.away = False
    host.agent_starts()
    host.carry_out()
    assert host.serving_within(120)
    host.units["vllm"] = replace(host.units["vllm"], active_state="deactivating")
    host.see_units()
    host.metrics_are_silent = host.away = True
    host.pass_time(HOUR, step=5)
    assert told(host, "kill") == []
    host.units["vllm"] = replace(host.units["vllm"], active_state="active")
    host.see_units()
    host.pass_time(HOUR, step=5)
    assert told(host, "kill") != []
