# SPDX-License-Identifier: Apache-2.0
"""What the front end refuses is neither life nor death: transcripts of services that say no."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agent.core.engine.metrics import Counters
from agent.core.judges.alive.hang_detection import ASLEEP
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.actions import Action, Canary, Verify
from agent.core.state.observations import CanaryDone, Verified
from agent.core.state.phases import Phase
from tests.given.simulated_host import SimulatedHost

HOUR = 3600.0
NEEDS_A_KEY = "needs a key: api_key_file"
PAUSED = "the engine is paused (POST /resume ends it)"
R = Recovery()


def host_that_refuses(
    why: Callable[[float], str], load: Callable[[float], Counters], *, full: bool = False
) -> SimulatedHost:
    """Returns a host that serves; each request is refused while `why` of the second says so."""
    host = SimulatedHost({"vllm": ServicePolicy(Settings("vllm", "/srv/m", max_model_len=8192))})
    began = host.now

    def refuse(action: Action) -> bool:
        if not isinstance(action, Canary | Verify):
            return False
        said = why(host.now - began)
        match action:
            case Verify():
                host.observe(Verified(host.now, "vllm", action.invocation_id, (), True, said, said))
            case Canary():
                host.observe(
                    CanaryDone(
                        host.now,
                        "vllm",
                        action.invocation_id,
                        not said,
                        0.1,
                        said,
                        refused=bool(said) and not full,
                        queue_full=full,
                    )
                )
        return True

    host.lose_actions = refuse
    host.load = lambda _work: load(host.now - began)
    host.agent_starts()
    host.carry_out()
    assert host.serving_within(120)
    return host


def said(host: SimulatedHost) -> list[str]:
    return [line.message for line in host.history if line.kind == "hang-detection"]


def killed(host: SimulatedHost) -> bool:
    return any(line.kind == "kill" for line in host.history)


@pytest.mark.parametrize(
    "load",
    [lambda _t: Counters(), lambda _t: Counters(running=40, waiting=900, generation_tokens=7.0)],
    ids=["idle", "40 run, 900 wait, nothing moves"],
)
def test_a_service_with_a_key_is_never_killed_for_it_and_everybody_hears_what_is_not_watched(
    load: Callable[[float], Counters],
) -> None:
    """Seen: 401 on /v1/completions at start and ever after, with --api-key in a drop-in."""
    host = host_that_refuses(lambda _t: NEEDS_A_KEY, load)
    host.pass_time(8 * HOUR, step=5)
    assert host.service().phase is Phase.SERVING
    assert not killed(host)
    assert said(host) == [f"hang detection is off: {NEEDS_A_KEY}"]
    assert host.service().live.unjudged == NEEDS_A_KEY


def test_a_paused_engine_is_not_killed_and_hang_detection_comes_back_when_it_resumes() -> None:
    """Seen: POST /pause for an hour in the middle of work, then /resume."""
    host = host_that_refuses(
        lambda t: PAUSED if 1000 <= t < 1000 + HOUR else "",
        lambda t: Counters(running=8, generation_tokens=min(t, 1000.0)),
    )
    host.pass_time(0.9 * HOUR, step=5)
    assert host.service().live.unjudged == PAUSED
    host.pass_time(HOUR, step=5)
    assert not killed(host)
    assert host.service().live.unjudged == ""
    assert said(host) == [
        f"hang detection is off: {PAUSED}",
        "hang detection is on: the model answered a request",
    ]


def test_an_engine_that_sleeps_is_not_asked_and_everybody_hears_it_until_it_wakes() -> None:
    """Seen: POST /sleep?level=0 in the middle of work on vLLM 0.32, then /wake_up."""
    host = host_that_refuses(
        lambda _t: "",
        lambda t: Counters(
            running=2, generation_tokens=min(t, 1000.0), asleep=1000 <= t < 1000 + HOUR
        ),
    )
    host.pass_time(1010, step=5)
    asked: list[Action] = []
    host.on_action = lambda action: asked.append(action) if isinstance(action, Canary) else None
    host.pass_time(0.9 * HOUR, step=5)
    assert asked == []
    assert host.service().live.unjudged == ASLEEP
    host.pass_time(0.2 * HOUR, step=5)
    assert not killed(host)
    assert host.service().live.unjudged == ""
    assert said(host) == [
        f"hang detection is off: {ASLEEP}",
        "hang detection is on: the model answered a request",
    ]


def test_misses_before_a_refusal_do_not_count() -> None:
    host = host_that_refuses(lambda _t: PAUSED, lambda _t: Counters(running=2))
    for _ in range(20):
        host.pass_time(R.hang_seconds, step=5)
        run = host.service().invocation_id
        for refused in (False, True):
            host.observe(
                CanaryDone(host.now, "vllm", run, False, 60.0, "no answer", refused=refused)
            )
        host.carry_out()
    assert not killed(host)


def test_a_full_queue_is_a_miss_of_an_engine_with_work_that_stands_still() -> None:
    """A hung engine's queue fills up, and then each request gets 429."""
    hung = host_that_refuses(
        lambda t: "HTTP 429: too many" if t > 200 else "",
        lambda t: Counters(running=256, waiting=1000, generation_tokens=min(t, 200.0)),
        full=True,
    )
    hung.pass_time(HOUR, step=5)
    assert killed(hung)


def test_a_rate_limit_before_an_idle_engine_is_no_death() -> None:
    host = host_that_refuses(lambda _t: "HTTP 429: slow down", lambda _t: Counters(), full=True)
    host.pass_time(8 * HOUR, step=5)
    assert not killed(host)
    assert host.service().live.unjudged == "HTTP 429: slow down"
