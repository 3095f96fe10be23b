# SPDX-License-Identifier: Apache-2.0
"""What an operator asks of the running agent: pause, resume, restart, drain."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.core.engine.metrics import Counters
from agent.core.failures.classes import FailureClass
from agent.core.judges.service.steering import spoken
from agent.core.measures import DAY_SECONDS, HOUR_SECONDS
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.actions import Action, EndRun, Fetch, Reap, Start, Stop
from agent.core.state.host import Decision
from agent.core.state.phases import Phase
from agent.core.state.steering.asked import Answer, OperatorAsked
from agent.core.state.steering.requests import (
    AskDrain,
    AskDrill,
    AskPause,
    AskRestart,
    AskResume,
    Fault,
    Request,
)
from tests.given.simulated_host import SimulatedHost

HOUR = HOUR_SECONDS
ACTS = (Start, Stop, Reap, Fetch, EndRun)


def serving(*, idle: bool = False) -> SimulatedHost:
    host = SimulatedHost({"vllm": ServicePolicy(Settings("vllm", "/srv/models/llama"))})
    if idle:
        host.load = lambda _work: Counters(running=0, generation_tokens=1.0)
    host.agent_starts()
    assert host.serving_within(300)
    return host


def ask(host: SimulatedHost, request: Request, by: str = "root") -> Answer:
    """Returns the answer; what else was decided is carried out."""
    decision = asked(host, request, by)
    (answer,) = (action for action in decision.actions if isinstance(action, Answer))
    host.carry_out()
    return answer


def asked(host: SimulatedHost, request: Request, by: str = "root") -> Decision:
    return host.observe(OperatorAsked(host.now, 7, request, by, host.now % DAY_SECONDS))


def acted(host: SimulatedHost) -> list[Action]:
    done: list[Action] = []
    host.on_action = lambda action: done.append(action) if isinstance(action, ACTS) else None
    return done


def told(host: SimulatedHost, kind: str) -> list[str]:
    return [line.message for line in host.history if line.kind == kind]


# --- pause ---


def test_a_hung_engine_is_told_of_once_and_not_killed_while_it_is_paused() -> None:
    host = serving()
    assert ask(host, AskPause("vllm", 2 * HOUR)).done
    done = acted(host)
    host.hangs()
    host.pass_time(HOUR)
    assert done == []
    assert host.service().phase is Phase.SERVING
    (line,) = told(host, "left-alone")
    assert line.startswith("paused, so it is left alone: engine-hung: no token for ")


def test_what_hangs_when_its_pause_ends_by_itself_is_brought_back_then() -> None:
    host = serving()
    ask(host, AskPause("vllm", HOUR))
    host.hangs()
    host.pass_time(HOUR - 60)
    assert len(host.starts) == 1
    host.pass_time(900)
    assert told(host, "resumed") == ["the pause is over: llmagent acts again"]
    assert len(host.starts) == 2
    assert host.service().phase is Phase.SERVING


def test_what_dies_in_a_pause_is_diagnosed_and_started_when_the_pause_is_over() -> None:
    host = serving()
    ask(host, AskPause("", HOUR), "alice")
    done = acted(host)
    host.dies(FailureClass.ENGINE_DEAD)
    host.pass_time(1800)
    assert done == []
    s = host.service()
    assert s.failure is not None
    assert s.failure.failure is FailureClass.ENGINE_DEAD
    assert s.live.blocked_by == "paused by alice: it is not started"
    assert ask(host, AskResume("")).message == "everything is looked after again"
    assert host.serving_within(300)


def test_systemds_own_restart_in_a_pause_is_taken_over_and_not_disturbed() -> None:
    host = serving()
    ask(host, AskPause("vllm", HOUR))
    done = acted(host)
    host.dies(FailureClass.ENGINE_DEAD)
    host.pass_time(60)
    host.operator_starts()
    assert host.serving_within(300)
    assert done == []


def test_a_pause_outlives_the_agent_and_a_reboot_and_ends_in_its_time() -> None:
    host = serving()
    ask(host, AskPause("vllm", HOUR))
    ask(host, AskPause("", HOUR / 2))
    host.pass_time(60)
    host.agent_starts()
    host.reboots()
    host.pass_time(HOUR / 2)
    assert len(host.starts) == 1
    host.pass_time(HOUR / 2)
    assert len(host.starts) == 2
    assert sorted(told(host, "resumed")) == [
        "the pause is over: llmagent acts again",
        "the pause of the host is over: llmagent acts again",
    ]


def test_a_changed_agent_toml_waits_for_the_end_of_the_pause() -> None:
    host = serving()
    ask(host, AskPause("vllm", HOUR))
    policy = host.policies["vllm"]
    host.policies["vllm"] = replace(policy, settings=replace(policy.settings, max_model_len=4096))
    host.reload()
    host.pass_time(60)
    assert len(host.starts) == 1
    ask(host, AskResume("vllm"))
    host.pass_time(60)
    assert host.starts[-1][2].max_model_len == 4096


def test_the_end_of_one_pause_does_not_end_the_other() -> None:
    host = serving()
    ask(host, AskPause("", HOUR))
    ask(host, AskPause("vllm", 2 * HOUR))
    assert "still paused" in ask(host, AskResume("vllm")).message
    refused = ask(host, AskResume("vllm"))
    assert not refused.done
    assert "`llmagent resume` without a name" in refused.message


@pytest.mark.parametrize(
    "request_", [AskPause("nope", HOUR), AskResume("nope"), AskRestart("nope"), AskDrain("nope", 9)]
)
def test_a_service_that_is_not_there_is_refused_with_those_that_are(request_: Request) -> None:
    answer = ask(serving(), request_)
    assert not answer.done
    assert answer.message == "llmagent looks after no such service; configured: vllm"


# --- restart ---


def test_a_restart_is_asked_of_systemd_once_and_verified() -> None:
    host = serving()
    assert ask(host, AskRestart("vllm"), "alice").done
    assert host.service().reason == "restart, asked for by alice"
    assert host.serving_within(300)
    assert len(host.starts) == 2


def test_a_restart_when_idle_waits_for_the_last_request() -> None:
    host = serving()
    ask(host, AskRestart("vllm", when_idle=True))
    host.pass_time(HOUR)
    assert len(host.starts) == 1
    host.load = lambda _work: Counters(running=0, generation_tokens=9e9)
    host.pass_time(3)
    assert len(host.starts) == 1, "a moment between two requests is not idle"
    host.pass_time(60)
    assert len(host.starts) == 2
    host.pass_time(HOUR)
    assert len(host.starts) == 2
    assert host.service().planned_restart is None


def test_a_restart_when_idle_is_not_done_twice_where_a_failure_came_first() -> None:
    host = serving()
    ask(host, AskRestart("vllm", when_idle=True))
    host.dies(FailureClass.ENGINE_DEAD)
    assert host.serving_within(300)
    host.load = lambda _work: Counters(running=0, generation_tokens=9e9)
    host.pass_time(HOUR)
    assert len(host.starts) == 2


def test_a_restart_every_day_comes_at_its_time_of_day() -> None:
    host = serving()
    at = (host.now + 2 * HOUR) % DAY_SECONDS // 60 * 60
    ask(host, AskRestart("vllm", time_of_day=at, every_day=True))
    host.pass_time(3 * DAY_SECONDS, step=20)
    times = [began % DAY_SECONDS - at for began, _, _ in host.starts[1:]]
    assert len(times) == 3
    assert all(0 <= late <= 40 for late in times)


def test_a_restart_whose_time_went_by_in_a_pause_is_left_out_and_told() -> None:
    host = serving()
    at = (host.now + HOUR) % DAY_SECONDS // 60 * 60
    ask(host, AskRestart("vllm", time_of_day=at))
    ask(host, AskPause("vllm", 5 * HOUR))
    host.pass_time(6 * HOUR, step=5)
    assert len(host.starts) == 1
    assert told(host, "restart-planned")[-1].endswith("was not possible: left out")


def test_a_planned_restart_is_taken_back() -> None:
    host = serving()
    ask(host, AskRestart("vllm", when_idle=True))
    assert ask(host, AskRestart("vllm", cancel=True)).done
    host.load = lambda _work: Counters(running=0, generation_tokens=9e9)
    host.pass_time(HOUR)
    assert len(host.starts) == 1


def test_a_paused_service_is_neither_restarted_nor_drained() -> None:
    host = serving()
    ask(host, AskPause("vllm", HOUR))
    for request in (AskRestart("vllm"), AskDrain("vllm", 60)):
        answer = ask(host, request)
        assert not answer.done
        assert answer.message == "vllm is paused: `llmagent resume vllm` first"


def test_what_the_operator_stopped_is_started_by_a_restart() -> None:
    host = serving()
    host.operator_stops()
    host.pass_time(HOUR)
    assert host.service().phase is Phase.STOPPED
    assert ask(host, AskRestart("vllm")).done
    assert host.serving_within(300)


# --- drain ---


def test_a_drain_waits_for_the_last_request_and_the_service_stays_down() -> None:
    host = serving()
    answer = ask(host, AskDrain("vllm", 600))
    assert "New requests are still taken" in answer.message
    host.pass_time(120)
    assert host.service().phase is Phase.SERVING
    host.load = lambda work: Counters(running=0, generation_tokens=work)
    host.pass_time(5)
    assert host.service().phase is Phase.STOPPED
    assert host.service().reason == "drained by root; `systemctl start vllm` brings it back"
    host.pass_time(HOUR)
    assert len(host.starts) == 1
    host.operator_starts()
    assert host.serving_within(300)


def test_a_drain_that_requests_never_end_is_over_at_its_limit() -> None:
    host = serving()
    ask(host, AskDrain("vllm", 600))
    host.pass_time(590)
    assert host.service().phase is Phase.SERVING
    host.pass_time(20)
    assert host.service().phase is Phase.STOPPED
    assert "what still runs is ended" in told(host, "drain")[-1]


def test_what_dies_while_it_is_drained_stays_down() -> None:
    host = serving()
    ask(host, AskDrain("vllm", 600))
    host.dies(FailureClass.ENGINE_DEAD)
    host.carry_out()
    host.pass_time(HOUR)
    assert host.service().phase is Phase.STOPPED
    assert len(host.starts) == 1


def test_what_does_not_run_cannot_be_drained() -> None:
    host = serving()
    host.operator_stops()
    answer = ask(host, AskDrain("vllm", 600))
    assert not answer.done
    assert answer.message == "vllm is stopped: no request can run in it"


# --- asked, recorded, lost ---


@pytest.mark.parametrize("request_", [AskRestart("vllm"), AskDrain("vllm", 0)])
def test_what_was_acknowledged_is_done_though_the_agent_is_killed_before_it_acts(
    request_: Request,
) -> None:
    host = serving(idle=True)
    decision = asked(host, request_)
    assert any(isinstance(action, Answer) and action.done for action in decision.actions)
    host.agent_starts()  # what was decided is recorded, and nothing of it was carried out
    host.pass_time(HOUR)
    if isinstance(request_, AskRestart):
        assert len(host.starts) == 2
        assert host.service().phase is Phase.SERVING
    else:
        assert len(host.starts) == 1
        assert host.service().phase is Phase.STOPPED


REQUESTS = st.sampled_from(
    [
        AskPause("", 600.0),
        AskPause("vllm", 1200.0),
        AskResume(""),
        AskResume("vllm"),
        AskRestart("vllm"),
        AskRestart("vllm", when_idle=True),
        AskDrain("vllm", 60.0),
    ]
)
HAPPENINGS = st.sampled_from(["dies", "hangs", "idle", "busy", "agent", "start", "nothing"])


def happens(host: SimulatedHost, what: str) -> None:
    runs = "vllm" in host.runs
    match what:
        case "dies" if runs:
            host.dies(FailureClass.ENGINE_DEAD)
        case "hangs" if runs:
            host.hangs()
        case "idle":
            host.load = lambda _work: Counters(running=0, generation_tokens=9e9)
        case "busy":
            host.load = lambda work: Counters(running=1, generation_tokens=work)
        case "agent":
            host.agent_starts()
        case "start" if not runs:
            host.operator_starts()
        case _:
            pass


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(REQUESTS, HAPPENINGS, st.integers(5, 900)), max_size=8))
@example(
    [
        (AskDrain("vllm", 60.0), "hangs", 5),
        (AskPause("", 600.0), "hangs", 5),
        (AskPause("vllm", 1200.0), "dies", 5),
    ]
)
def test_whatever_is_asked_and_happens_nothing_is_done_in_a_pause(
    steps: list[tuple[Request, str, int]],
) -> None:
    host = serving()
    begun: list[int] = []

    def watch(action: Action) -> None:
        if isinstance(action, ACTS):
            s = host.state.services[action.service]
            pauses = (p for p in (s.pause, host.state.pause) if p is not None)
            in_pause = any(p.since < host.now < p.until for p in pauses)
            # What was asked of systemd before the pause is finished.
            if in_pause and not begun:
                raise AssertionError(f"{action} in a pause")

    host.on_action = watch
    for request, what, seconds in steps:
        ask(host, request)
        begun[:] = [1] if host.service().asked is not None else []
        happens(host, what)
        host.carry_out()
        host.pass_time(float(seconds), step=5.0)
    host.load = lambda work: Counters(running=1, generation_tokens=work)
    ask(host, AskResume(""))
    if host.service().phase is not Phase.STOPPED and host.service().drain is None:
        assert host.serving_within(3600)


@pytest.mark.parametrize(
    ("seconds", "words"), [(60, "60 s"), (600, "10 min"), (7200, "2 h"), (5400, "1 h 30 min")]
)
def test_a_time_is_said_as_a_person_says_it(seconds: float, words: str) -> None:
    assert spoken(seconds) == words


# --- drill ---


def test_a_drill_is_told_as_one_and_changes_nothing() -> None:
    host = serving()
    before = host.service()
    done = acted(host)
    assert ask(host, AskDrill("vllm", Fault.REFUSE)).done
    assert told(host, "drill")[0].startswith("drill: agent.toml is pretended to be refused")
    assert ask(host, AskDrill("vllm", Fault.KILL)).message == "vllm may be killed now"
    assert (host.service(), done) == (before, [])


def test_a_drill_that_would_do_harm_or_show_nothing_is_refused() -> None:
    host = serving()
    assert ask(host, AskDrill("vllm", Fault.HOT)).message == "no GPU is known on this host"
    host.operator_stops()
    answer = ask(host, AskDrill("vllm", Fault.KILL))
    assert not answer.done
    assert "only what serves can be brought back" in answer.message
    ask(host, AskPause("vllm", HOUR))
    assert "is paused" in ask(host, AskDrill("vllm", Fault.REFUSE)).message
