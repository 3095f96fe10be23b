# SPDX-License-Identifier: Apache-2.0
"""What a person hears of a night: few messages, each with cause and next command."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.codec import encode
from agent.core.decide import decide
from agent.core.settings.notify import Notify, Severity
from agent.core.settings.recovery import Window
from agent.core.state.actions import Action
from agent.core.state.host import Decision, HostState, News
from agent.core.state.observations import AgentStarted
from agent.core.state.phases import Phase
from agent.core.state.policy import HostPolicy
from agent.core.state.rows.stored import OUTBOX, state_of
from agent.core.state.service import ServiceState
from agent.core.state.telling.outbox import Message, Outbox, OutboxLive
from agent.core.state.telling.sending import Ping, Send, Sent
from agent.core.telling.kinds import KINDS, NOT_TOLD, OF_AN_INCIDENT
from agent.core.telling.post import MOST_MESSAGES, SPAN_SECONDS, on_sent, told
from tests.rig.paths import REPO

HOUR = 3600.0
MIDNIGHT = 86400.0 * 20_000
ALL = Notify(urls_file="/etc/llmagent/notify.urls", least=Severity.INFO)
USUAL = Notify(urls_file="/etc/llmagent/notify.urls")


@dataclass
class Night:
    """Virtual time: what is told is sent at once, or fails while `down` says why."""

    notify: Notify = USUAL
    now: float = MIDNIGHT + HOUR
    state: HostState = field(default_factory=HostState)
    sent: list[tuple[float, Message]] = field(default_factory=list)
    pings: list[tuple[float, Ping]] = field(default_factory=list)
    down: str = ""

    @property
    def box(self) -> Outbox:
        return self.state.outbox or Outbox()

    def hears(self, kind: str, message: str, service: str = "vllm", **data: object) -> None:
        self._decide(News(service, kind, message, data))

    def passes(self, seconds: float, step: float = 5.0) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + step)
            self._decide()

    def _decide(self, *news: News) -> None:
        decision = Decision(self.state, (), news)
        decision = told(decision, self.notify, self.now, self.now % 86400)
        self.state = decision.state
        for action in decision.actions:
            self._carry_out(action)

    def _carry_out(self, action: Action) -> None:
        match action:
            case Send(message=message):
                if not self.down:
                    self.sent.append((self.now, message))
                sent = Sent(self.now, message.number, not self.down, (), self.down)
                self.state = replace(self.state, outbox=on_sent(self.state.outbox, sent))
            case Ping():
                self.pings.append((self.now, action))

    def dies_and_comes_back(self, after: float = 60.0) -> None:
        self.hears("died", "vllm.service ended unasked (result success, status 0)")
        self.hears("failure", "oom-runtime while serving: CUDA oom", **OOM)
        self.hears("learned", "gpu_memory_utilization = 0.88 from now on: oom-runtime: one step")
        self.hears("start", "start vllm.service")
        self.passes(after)
        self.hears("serving", "serving: 9 proven, 0 contradicted, 0 unknown")


OOM = {"class": "oom-runtime", "engine_phase": "serving"}


def test_an_incident_is_one_message_with_cause_and_cure() -> None:
    night = Night()
    night.dies_and_comes_back()
    night.passes(4 * HOUR)
    ((_, message),) = night.sent
    assert message.severity is Severity.WARNING
    assert message.title == (
        "vllm was away for 60 s: oom-runtime while serving; started again;"
        " gpu_memory_utilization = 0.88 from now on: oom-runtime: one step"
    )
    assert "llmagent events --since 12h" in message.body


def test_what_needs_a_person_is_told_within_seconds_with_what_to_do() -> None:
    night = Night()
    night.hears("died", "vllm.service ended unasked (result exit-code, status 1)")
    night.hears("failure", "gated-repo while loading: 401", **{"class": "gated-repo"})
    night.hears("held", "held: gated-repo: the model is gated. To do: Ask for access at its page.")
    night.passes(30)
    ((at, message),) = night.sent
    assert at - MIDNIGHT - HOUR <= 10
    assert message.severity is Severity.CRITICAL
    assert message.title == "vllm is held: gated-repo: the model is gated."
    assert "  to do: Ask for access at its page." in message.body


def test_what_is_not_back_is_told_once_and_its_end_once() -> None:
    night = Night()
    night.dies_and_comes_back(after=2 * HOUR)
    night.passes(4 * HOUR)
    titles = [message.title for _, message in night.sent]
    assert titles[0].startswith("vllm is not back after 5 min (oom-runtime while serving), 1 start")
    assert titles[1].startswith("vllm is back after 120 min (1 start)")
    assert len(titles) == 2


def test_what_the_operator_stops_is_no_incident() -> None:
    night = Night()
    night.hears("died", "vllm.service ended unasked (result success, status 0)")
    night.hears("stopped", "stopped by the operator; `systemctl start vllm` brings it back")
    night.passes(4 * HOUR)
    assert night.sent == []


def test_what_comes_together_is_one_message() -> None:
    night = Night()
    for number in range(4):
        night.hears("gpu-lost", f"GPU {number} (H200) is lost: NVML does not reach it", "")
        night.passes(1, step=1)
    night.passes(HOUR)
    ((_, message),) = night.sent
    assert message.title.endswith("(and 3 more)")


def test_nothing_but_what_is_critical_is_sent_in_quiet_hours() -> None:
    night = Night(replace(USUAL, quiet=Window(0, 7 * 3600)))
    night.dies_and_comes_back()
    night.passes(2 * HOUR)
    assert night.sent == []
    night.hears("gpu-ailing", "GPU 0: Xid 79. To do: reboot the host", "")
    night.passes(60)
    ((_, message),) = night.sent
    assert "oom-runtime" in message.body, "what waited goes along"
    quiet = Night(replace(USUAL, quiet=Window(0, 7 * 3600)))
    quiet.dies_and_comes_back()
    quiet.passes(10 * HOUR)
    ((at, _),) = quiet.sent
    assert at % 86400 == pytest.approx(7 * 3600, abs=30)


def test_the_least_severity_is_the_operators() -> None:
    for least, count in ((Severity.INFO, 1), (Severity.WARNING, 0)):
        night = Night(replace(USUAL, least=least))
        night.hears("paused", "paused by root for 2 h: llmagent watches and tells")
        night.passes(HOUR)
        assert len(night.sent) == count


def test_a_host_that_was_reset_is_told_and_a_start_of_the_agent_is_not() -> None:
    night = Night()
    night.hears("agent", "the agent started", "", reset=False)
    night.passes(HOUR)
    assert night.sent == []
    night.hears("agent", "the host was reset: it went down without a shutdown", "", reset=True)
    night.passes(HOUR)
    ((_, message),) = night.sent
    assert message.title == "the host was reset: it went down without a shutdown"


def test_a_summary_comes_at_its_time_and_tells_of_a_night_without_anything() -> None:
    night = Night(replace(USUAL, digest=8 * 3600))
    night.state = HostState(services={"vllm": ServiceState("vllm", Phase.SERVING)})
    night.passes(48 * HOUR, step=60)
    assert [message.title for _, message in night.sent] == [
        "summary: nothing happened; vllm serves",
        "summary: nothing happened; vllm serves",
    ]
    night.dies_and_comes_back()
    night.passes(24 * HOUR, step=60)
    assert night.sent[-1][1].title == "summary: 1 things happened; now vllm serves"


def test_what_cannot_be_sent_is_tried_again_and_given_up_after_a_day() -> None:
    night = Night(down="1 ntfy could not be reached")
    night.dies_and_comes_back()
    night.passes(2 * HOUR)
    box = night.box
    assert (len(box.messages), box.problem) == (1, "1 ntfy could not be reached")
    assert 5 <= box.messages[0].tries <= 9
    night.down = ""
    night.passes(HOUR + 10)
    assert len(night.sent) == 1
    assert night.box.problem == ""
    night.down = "away"
    night.dies_and_comes_back()
    night.passes(30 * HOUR, step=60)
    assert night.box.messages == ()
    assert night.box.given_up == 1


def test_only_who_was_not_told_is_told_again() -> None:
    night = Night()
    night.dies_and_comes_back()
    night.down = "2 mail refused it"
    night.passes(60)
    message = night.box.messages[0]
    sent = Sent(night.now, message.number, sent=False, left=("2 mail",), problem="refused")
    after = on_sent(night.box, sent)
    assert after is not None
    assert after.messages[0].left == ("2 mail",)


def test_what_waits_outlives_the_agent() -> None:
    night = Night(down="away")
    night.dies_and_comes_back()
    night.passes(60)
    night.hears("died", "vllm.service ended unasked (result success, status 0)")
    row = json.dumps(encode(night.box, frozenset({"live"})))
    read, problems = state_of({OUTBOX: row})
    assert problems == ()
    assert read.outbox == replace(night.box, live=OutboxLive())


def test_a_clock_that_was_two_years_ahead_silences_nobody() -> None:
    night = Night(now=MIDNIGHT + 2 * 366 * 86400.0, down="away")
    for _ in range(3):
        night.dies_and_comes_back()
        night.passes(2 * HOUR)
    night.now = MIDNIGHT
    started = AgentStarted(night.now, "boot-1")
    night.state = decide(night.state, started, HostPolicy({}, {})).state
    night.down = ""
    night.hears("held", "held: gated-repo. To do: look")
    night.passes(6 * HOUR)
    assert any("vllm is held" in message.body for _, message in night.sent)


def test_without_a_file_of_addresses_nothing_is_kept() -> None:
    night = Night(Notify())
    night.dies_and_comes_back()
    assert night.state.outbox is None


TOKEN = "hf_" + "a" * 34


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("held", f"held: hub-auth: the token {TOKEN} is refused. To do: make a new one"),
        ("doctor", f'token: a start will fail: "{TOKEN}". To do: mend it'),
        ("kill", 'engine-hung: no token and a request failed (400: prompt: "my secret diary")'),
        ("failure", 'bad-arg-value while serving: messages: "my secret diary"'),
        ("answer-changed", "it answers 'my secret diary' now"),
        ("mismatch", "kv_cache_dtype: asked fp8, got 'my secret diary of words'"),
        ("gpu-lost", "GPU 0\x1b[2J\u202e is lost"),
        ("unheard-of", "my secret diary"),
    ],
)
def test_no_secret_and_nothing_that_a_client_wrote_leaves_the_host(kind: str, message: str) -> None:
    night = Night(ALL)
    night.hears("died", "vllm.service ended unasked (result success, status 0)")
    night.hears(kind, message, **OOM)
    night.passes(2 * HOUR)
    said = " ".join(f"{message.title}\n{message.body}" for _, message in night.sent)
    assert "hf_a" not in said
    assert "diary" not in said
    assert all(line.isprintable() for line in said.splitlines())


FAILURES = st.sampled_from(["blip", "long", "held", "gpu", "xid"])


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.tuples(FAILURES, st.integers(0, 400)), min_size=100, max_size=120), st.booleans()
)
def test_a_storm_of_a_hundred_failures_is_at_most_five_messages(
    storm: list[tuple[str, int]], down: bool
) -> None:
    night = Night()
    began = night.now
    for number, (what, rest) in enumerate(storm):
        night.down = "away" if down and number % 7 < 3 else ""
        match what:
            case "blip":
                night.dies_and_comes_back(after=20.0)
            case "long":
                night.dies_and_comes_back(after=400.0)
            case "held":
                night.hears("held", f"held: reason {number}. To do: look")
            case "gpu":
                night.hears("gpu-ailing", f"GPU {number}: it ails. To do: reset it", "")
            case _:
                night.hears("xid", f"GPU {number}: Xid 31", "")
        night.passes(float(rest), step=20.0)
        box = night.box
        assert len(box.messages) <= MOST_MESSAGES
        assert len(json.dumps(encode(box, frozenset({"live"})))) < 100_000
    times = [at for at, _ in night.sent]
    first = [at for at in times if at - began < SPAN_SECONDS]
    made = night.box.composed_at
    assert len(made) <= 5
    assert len(first) <= 5
    night.down = ""
    night.passes(2 * SPAN_SECONDS, step=120.0)
    assert any(m.severity is Severity.CRITICAL for _, m in night.sent) or not any(
        what in ("held", "gpu", "long") for what, _ in storm
    )
    assert night.box.entries == (), "all was told at last"


def test_the_dead_mans_switch_is_asked_for_while_all_is_well_and_told_at_once_when_not() -> None:
    night = Night(Notify(dead_mans_switch_file="/etc/llmagent/ping"))
    night.state = HostState(services={"vllm": ServiceState("vllm", Phase.SERVING)})
    night.passes(HOUR)
    assert len(night.pings) == 12
    assert all(ping.well for _, ping in night.pings)
    held = ServiceState("vllm", Phase.HELD)
    night.state = replace(night.state, services={"vllm": held})
    night.passes(10)
    assert len(night.pings) == 13
    assert night.pings[-1][1].why == "vllm is held"
    night.passes(HOUR)
    assert not any(ping.well for _, ping in night.pings[12:])


def test_a_short_death_is_no_reason_to_wake_somebody_by_the_switch() -> None:
    night = Night(Notify(dead_mans_switch_file="/etc/llmagent/ping"))
    night.passes(10)
    night.dies_and_comes_back(after=120.0)
    night.passes(HOUR)
    assert all(ping.well for _, ping in night.pings)


def kinds_in_the_source() -> set[str]:
    """Returns every literal kind with which the core tells, enters a phase or makes news."""
    found = set()
    for path in (REPO / "agent").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = name or (node.func.id if isinstance(node.func, ast.Name) else "")
            place = {"tell": (1, 2), "_tell": (), "enter": (2,), "News": (1,)}.get(name, ())
            for index in place:
                if index < len(node.args):
                    word = node.args[index]
                    if isinstance(word, ast.Constant) and isinstance(word.value, str):
                        found.add(word.value)
    return found


def test_every_kind_of_news_is_told_or_left_out_on_purpose() -> None:
    known = {*KINDS, *OF_AN_INCIDENT, *NOT_TOLD}
    words = {kind for kind in kinds_in_the_source() if kind and " " not in kind}
    assert words - known == set()


def test_the_message_of_a_drill_says_so() -> None:
    night = Night()
    night.hears("drill", "drill: the engine of vllm is killed by root", kill=True)
    night.dies_and_comes_back()
    night.passes(HOUR)
    ((_, message),) = night.sent
    assert message.title.startswith("vllm was away for 60 s: drill: oom-runtime while serving")
    night.hears("drill", "drill: GPU 0 is pretended to be hot. To do: nothing", kill=False)
    night.passes(HOUR)
    assert night.sent[-1][1].title.endswith("drill: GPU 0 is pretended to be hot.")
