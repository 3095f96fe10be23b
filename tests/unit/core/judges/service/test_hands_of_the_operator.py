# SPDX-License-Identifier: Apache-2.0
"""What an operator does to the unit by hand, and what the agent makes of it."""

from __future__ import annotations

from dataclasses import replace

from agent.core.failures.classes import FailureClass
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.actions import Action, Start, Stop, WriteUnit
from agent.core.state.observations import AgentStarted, UnitSeen
from agent.core.state.phases import Phase
from agent.core.state.unit import UnitFacts
from tests.given.simulated_host import SimulatedHost

GONE = UnitFacts("inactive", "dead", load_state="not-found")


def serving() -> SimulatedHost:
    host = SimulatedHost({"vllm": ServicePolicy(Settings("vllm", "/srv/models/llama"))})
    host.agent_starts()
    assert host.serving_within(300)
    return host


def news(host: SimulatedHost, unit: UnitFacts) -> list[str]:
    """Returns what is told of a reading of the unit."""
    return [line.message for line in host.observe(UnitSeen(host.now, "vllm", unit)).news]


def test_a_link_that_disable_removed_is_put_back_while_the_service_serves() -> None:
    host = serving()
    done: list[Action] = []
    host.on_action = done.append
    unlinked = replace(host.units["vllm"], load_state="not-found")
    told = news(host, unlinked)
    assert told == ["the link of vllm.service was removed (systemctl disable?): it is put back"]
    host.carry_out()
    assert [type(action) for action in done] == [WriteUnit]
    assert news(host, unlinked) == [], "asked once, not at every look"
    assert host.service().phase is Phase.SERVING
    host.carry_out()
    assert len(done) == 1
    # Removed again before anybody saw that it was back: it is put back again, and told once.
    host.now += 6
    assert news(host, unlinked) == []
    host.carry_out()
    assert len(done) == 2


def test_a_death_after_disable_is_a_failure_and_not_the_operators_stop() -> None:
    host = serving()
    news(host, replace(host.units["vllm"], load_state="not-found"))
    told = news(host, GONE)
    assert told[0] == (
        "vllm.service ended unasked (its unit was removed, by `systemctl disable` or with the "
        "package)"
    )
    # The link is back, and systemd shows a unit that is down as after a stop.
    news(host, replace(GONE, load_state="loaded"))
    assert host.service().phase is Phase.EXAMINING
    host.dies(FailureClass.ENGINE_DEAD)
    host.carry_out()
    assert host.serving_within(300)


def test_what_the_operator_stopped_and_then_disabled_stays_stopped() -> None:
    host = serving()
    host.operator_stops()
    assert host.service().phase is Phase.STOPPED
    news(host, GONE)
    host.pass_time(3000)
    assert host.service().phase is Phase.STOPPED


def test_a_masked_unit_is_called_masked_with_its_cure() -> None:
    host = serving()
    masked = replace(GONE, load_state="masked", foreign="/etc/systemd/system/vllm.service")
    news(host, masked)
    assert host.service().phase is Phase.HELD
    assert host.service().reason == "held: vllm.service is masked, so it is left alone"
    assert "systemctl unmask vllm" in host.service().what_to_do


def test_what_served_when_the_package_was_removed_is_started_when_it_is_back() -> None:
    host = serving()
    host.dies(FailureClass.ENGINE_DEAD)
    host.observe(AgentStarted(host.now, "boot-1", reinstalled=True))
    assert host.service().phase is Phase.WAITING
    assert "installed again: start" in host.service().reason


def test_what_the_operator_had_stopped_before_the_removal_stays_stopped() -> None:
    host = serving()
    host.operator_stops()
    host.observe(AgentStarted(host.now, "boot-1", reinstalled=True))
    assert host.service().phase is Phase.STOPPED


def foreign_meanwhile(host: SimulatedHost, load_state: str) -> UnitFacts:
    """Somebody puts a file or a mask in the place of a serving unit's link; returns what ran."""
    before = host.units["vllm"]
    path = "/etc/systemd/system/vllm.service"
    news(host, replace(before, load_state=load_state, foreign=path))
    assert host.service().phase is Phase.HELD
    return before


def test_what_serves_under_a_mask_goes_on_when_the_mask_is_lifted() -> None:
    host = serving()
    done: list[Action] = []
    host.on_action = done.append
    before = foreign_meanwhile(host, "masked")
    # `systemctl unmask` leaves no link: systemd still runs what it has no file of.
    told = news(host, replace(before, load_state="not-found"))
    host.carry_out()
    assert "which ran all the while, goes on" in told[0]
    assert not [action for action in done if isinstance(action, Start | Stop)]
    assert [action for action in done if isinstance(action, WriteUnit)], "the link is put back"
    assert host.serving_within(60)
    assert host.service().invocation_id == before.invocation_id
    assert host.service().started_at > 0
    assert host.service().start_seconds is None, "when it began is not known any more"


def test_what_was_started_from_anothers_file_gives_way_when_the_file_is_gone() -> None:
    host = serving()
    before = foreign_meanwhile(host, "loaded")
    theirs = replace(before, invocation_id="of-the-other-file", main_pid=77)
    told = news(host, theirs)
    assert told[0].endswith("process 77, started without llmagent, ends")
    assert host.service().asked is not None
    assert news(host, theirs) == [], "it is not told as the run that was asked for"
    assert host.serving_within(300)


def test_a_file_that_turns_out_to_be_a_mask_is_called_one_then() -> None:
    host = serving()
    before = host.units["vllm"]
    path = "/etc/systemd/system/vllm.service"
    news(host, replace(before, foreign=path))
    assert "is not llmagent's" in host.service().reason
    masked = replace(before, foreign=path, load_state="masked")
    assert "is masked" in news(host, masked)[0]
    assert "systemctl unmask vllm" in host.service().what_to_do
    assert news(host, masked) == []


def test_what_ran_under_a_mask_with_other_settings_than_are_asked_for_now_gives_way() -> None:
    host = serving()
    before = foreign_meanwhile(host, "masked")
    other = Settings("vllm", "/srv/models/llama", max_model_len=4096)
    host.policies = {"vllm": ServicePolicy(other)}
    host.reload()
    told = news(host, before)
    assert told[0].endswith("started without llmagent, ends")
