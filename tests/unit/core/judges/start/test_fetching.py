# SPDX-License-Identifier: Apache-2.0
"""What is decided about a model that is not, or not wholly, in the hub's cache."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from agent.core.diagnosis.numbers import Numbers
from agent.core.diagnosis.reader import Diagnosis
from agent.core.failures.classes import EnginePhase, FailureClass, Outcome
from agent.core.hub.cache import CacheFacts
from agent.core.hub.progress import FetchPlan, FetchProgress, read_line
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.actions import Action, Fetch, StopFetch
from agent.core.state.observations import ActionDone, FetchSeen
from agent.core.state.phases import Phase
from agent.core.state.unit import UnitFacts
from tests.given.simulated_host import SimulatedHost

F = FailureClass
GIB = 1 << 30
CACHE = "/var/lib/vllm/huggingface/hub"
LACKS = CacheFacts(CACHE, lacks="org/m is not in it", free_bytes=100 * GIB)
COMPLETE = CacheFacts(CACHE, free_bytes=100 * GIB)


@dataclass
class Fetches:
    """A host whose model is not there, and the unit that would fetch it."""

    host: SimulatedHost
    asked: list[Fetch] = field(default_factory=list)
    stopped: int = 0
    unit: UnitFacts = field(default_factory=lambda: UnitFacts("inactive", "dead"))
    runs: int = 0
    lines: int = 0

    def note(self, action: Action) -> None:
        if isinstance(action, Fetch):
            self.asked.append(action)
            self.runs += 1
            self.unit = UnitFacts("active", "running", invocation_id=f"{self.runs}", main_pid=9)
        if isinstance(action, StopFetch):
            self.stopped += 1
            self.unit = UnitFacts("inactive", "dead")

    def begins(self) -> None:
        for _ in range(400):
            self.host.pass_time(1)
            if self.host.service().phase is Phase.FETCHING:
                break
        assert self.host.service().phase is Phase.FETCHING
        self.confirm()

    def confirm(self) -> None:
        action_id = self.asked[-1].action_id
        self.host.observe(ActionDone(self.host.now, "vllm", action_id, succeeded=True))

    def says(self, done: float | None = None, total: float = 15, speed: float = 0.5) -> None:
        self.host.now += 1
        progress = None
        if done is not None:
            progress = FetchProgress(int(done * GIB), int(total * GIB), speed * GIB)
        plan = FetchPlan(int(total * GIB), int(total * GIB), 100 * GIB, GIB, CACHE)
        self.host.observe(FetchSeen(self.host.now, "vllm", self.unit, plan, progress, self.lines))

    def succeeds(self) -> None:
        self.host.hub_cache = COMPLETE
        self.unit = replace(self.unit, sub_state="exited", main_pid=0)
        self.says(15)
        self.host.carry_out()

    def fails(
        self, failure: FailureClass | None, status: int = 1, plan: FetchPlan | None = None
    ) -> None:
        self.unit = UnitFacts(
            "failed", "failed", "exit-code", 1, status, invocation_id=self.unit.invocation_id
        )
        diagnosis = Diagnosis(
            outcome=Outcome.FAILED,
            failure=failure,
            phase=EnginePhase.DOWNLOADING,
            evidence=(f"the line of {failure}",),
            numbers=Numbers(),
        )
        self.host.now += 1
        self.host.observe(FetchSeen(self.host.now, "vllm", self.unit, plan, None, 3, diagnosis))
        self.host.carry_out()


def fetches(cache: CacheFacts = LACKS, **settings: Any) -> Fetches:
    """Returns a host that was just started with a service of a model of the hub."""
    policy = ServicePolicy(
        Settings("vllm", "org/m", **settings),
        recovery=Recovery(download_stall_seconds=600),
    )
    host = SimulatedHost({"vllm": policy}, hub_cache=cache)
    made = Fetches(host)
    host.on_action = made.note
    host.agent_starts()
    return made


def told(made: Fetches, kind: str) -> list[str]:
    return [line.message for line in made.host.history if line.kind == kind]


def test_a_complete_model_starts_at_once_and_nothing_is_fetched() -> None:
    made = fetches(COMPLETE)
    assert made.host.serving_within(120)
    assert made.asked == []


@pytest.mark.parametrize(
    "settings",
    [
        {"prefetch": False},
        {"environment": {"HF_HUB_OFFLINE": "1"}},
        {"environment": {"VLLM_USE_MODELSCOPE": "True"}},
        {"extra_args": ("--download-dir=/data",)},
        {"extra_args": ("--load-format", "runai_streamer")},
    ],
)
def test_what_vllm_is_to_get_by_itself_is_not_fetched(settings: dict[str, Any]) -> None:
    made = fetches(LACKS, **settings)
    assert made.host.serving_within(120)
    assert made.asked == []


def test_a_model_that_is_not_there_is_fetched_and_then_started() -> None:
    made = fetches()
    made.begins()
    made.says(12.3)
    made.host.pass_time(30)
    assert made.host.service().phase is Phase.FETCHING
    assert str(made.host.service().live.fetch.progress) == (
        "12.3 of 15.0 GiB, 512 MiB/s, about 5 s left"
    )
    made.succeeds()
    assert made.host.service().phase is Phase.STARTING
    assert made.host.serving_within(120)
    assert len(made.asked) == 1
    assert not made.asked[0].repair


def test_a_restart_of_what_was_fetched_fetches_nothing() -> None:
    made = fetches()
    made.begins()
    made.succeeds()
    assert made.host.serving_within(120)
    made.host.dies(None)
    assert made.host.serving_within(120)
    assert len(made.asked) == 1


def test_a_cache_that_looks_incomplete_after_a_fetch_does_not_lead_to_another() -> None:
    made = fetches()
    made.begins()
    made.succeeds()
    made.host.hub_cache = LACKS
    assert made.host.serving_within(120)
    assert len(made.asked) == 1


@pytest.mark.parametrize("failure", [F.HUB_UNREACHABLE, F.HUB_RATE_LIMIT, F.HUB_OFFLINE])
def test_a_hub_that_is_away_is_asked_for_as_long_as_it_takes(failure: FailureClass) -> None:
    made = fetches()
    for _ in range(40):
        made.begins()
        made.fails(failure)
        assert made.host.service().phase is Phase.WAITING
        wait = made.host.service().retry_at - made.host.now
        assert wait <= 300
        assert wait >= 300 or failure is not F.HUB_RATE_LIMIT
        made.host.pass_time(wait - 1, step=max(1.0, wait / 4))
    made.begins()
    made.succeeds()
    assert made.host.serving_within(120)
    assert made.host.starts[0][0] >= made.host.now - 200


@pytest.mark.parametrize(
    ("failure", "settings", "says"),
    [
        (F.GATED_REPO, {"hf_token_file": "/etc/llmagent/hf"}, "https://huggingface.co/org/m"),
        (F.GATED_REPO, {"hf_token_file": "/etc/llmagent/hf"}, "/etc/llmagent/hf"),
        (F.GATED_REPO, {}, "hf_token_file"),
        (F.GATED_REPO, {"environment": {"HF_ENDPOINT": "http://m/"}}, "http://m/org/m "),
        (F.HUB_AUTH, {"hf_token_file": "/etc/llmagent/hf"}, "/etc/llmagent/hf"),
        (F.REPO_NOT_FOUND, {}, "Correct model or revision"),
        (F.CACHE_NOT_WRITABLE, {}, "cache directory"),
    ],
)
def test_what_only_a_person_can_cure_is_held_with_what_to_do(
    failure: FailureClass, settings: dict[str, Any], says: str
) -> None:
    made = fetches(LACKS, **settings)
    made.begins()
    made.fails(failure)
    held = made.host.service()
    assert (held.phase, made.host.starts) == (Phase.HELD, [])
    assert says in held.what_to_do
    made.host.pass_time(7200, step=10)
    assert (made.host.service().phase, len(made.asked)) == (Phase.HELD, 1)


def test_a_held_fetch_is_tried_again_when_agent_toml_is_read_again() -> None:
    made = fetches()
    made.begins()
    made.fails(F.GATED_REPO)
    made.host.reload()
    made.begins()
    made.succeeds()
    assert made.host.serving_within(120)


def test_a_full_disk_is_held_with_its_numbers_and_left_once_there_is_room() -> None:
    made = fetches()
    made.begins()
    short = FetchPlan(int(14.9 * GIB), int(14.9 * GIB), int(9.1 * GIB), GIB, CACHE)
    made.host.hub_cache = replace(LACKS, free_bytes=9 * GIB)
    made.fails(F.DISK_FULL, plan=short)
    held = made.host.service()
    assert held.phase is Phase.HELD
    assert held.reason == (
        f"held: disk-full: org/m needs 14.9 GiB and 1.0 GiB to spare, 9.1 GiB are free in {CACHE}"
    )
    made.host.hub_cache = replace(LACKS, free_bytes=15 * GIB)
    made.host.pass_time(300, step=5)
    assert made.host.service().phase is Phase.HELD
    made.host.hub_cache = replace(LACKS, free_bytes=16 * GIB)
    made.host.pass_time(60)
    assert made.host.service().phase is Phase.FETCHING
    made.confirm()
    made.succeeds()
    assert made.host.serving_within(120)


def test_a_fetch_that_brings_no_byte_is_stopped_and_goes_on() -> None:
    made = fetches()
    made.begins()
    for step in range(10):
        made.says(1 + step / 10)
        made.host.pass_time(500, step=50)
        assert made.host.service().phase is Phase.FETCHING
    made.host.pass_time(150, step=10)
    assert made.stopped == 1
    assert made.host.service().failure is not None
    assert told(made, "failure") == ["hub-unreachable while fetching: not a byte has come for "
                                     "600 s"]  # fmt: skip
    made.confirm()
    made.succeeds()
    assert made.host.serving_within(120)


def test_a_repair_that_reads_files_for_long_is_no_stall() -> None:
    made = fetches()
    made.begins()
    for _ in range(10):
        made.lines += 1
        made.says()
        made.host.pass_time(500, step=50)
    assert made.host.service().phase is Phase.FETCHING


def test_a_venv_without_huggingface_hub_leaves_the_download_to_vllm() -> None:
    made = fetches()
    made.begins()
    made.fails(None, status=3)
    assert made.host.serving_within(120)
    assert "huggingface_hub" in told(made, "fetch")[-1]


def test_a_fetch_that_fails_for_no_known_reason_is_left_to_vllm() -> None:
    made = fetches()
    for _ in range(3):
        made.begins()
        made.fails(F.UNKNOWN)
    assert made.host.serving_within(120)
    assert len(made.asked) == 3


def test_a_fetch_that_cannot_be_started_is_left_to_vllm() -> None:
    made = fetches()
    made.host.pass_time(1)
    action_id = made.asked[-1].action_id
    made.host.observe(
        ActionDone(made.host.now, "vllm", action_id, succeeded=False, detail="no such user")
    )
    assert made.host.serving_within(120)


def test_a_cache_that_does_not_answer_is_left_to_vllm() -> None:
    made = fetches(CacheFacts(CACHE, problem="permission denied"))
    assert made.host.serving_within(120)
    assert made.asked == []


def test_the_agent_goes_on_with_a_fetch_that_ran_while_it_was_away() -> None:
    made = fetches()
    made.begins()
    made.host.agent_starts()
    made.says(3)
    assert made.host.service().phase is Phase.FETCHING
    made.host.pass_time(60)
    made.succeeds()
    assert made.host.serving_within(120)
    assert len(made.asked) == 1


def test_a_fetch_that_was_asked_for_by_an_agent_that_died_is_asked_for_again() -> None:
    made = fetches()
    made.host.lose_actions = lambda action: isinstance(action, Fetch)
    made.host.pass_time(1)
    made.host.agent_starts()
    made.host.pass_time(1)
    assert len(made.asked) == 2
    made.confirm()
    made.succeeds()
    assert made.host.serving_within(120)


def test_news_of_an_earlier_fetch_is_not_taken_for_the_present_one() -> None:
    made = fetches()
    made.begins()
    made.fails(F.HUB_UNREACHABLE)
    made.host.pass_time(1)
    failed = made.unit
    made.host.pass_time(310, step=5)
    assert made.host.service().phase is Phase.FETCHING
    made.host.observe(FetchSeen(made.host.now, "vllm", failed, diagnosis=Diagnosis()))
    assert made.host.service().phase is Phase.FETCHING
    assert len(told(made, "failure")) == 1


def test_the_operator_may_stop_a_fetch_or_start_vllm_by_hand() -> None:
    made = fetches()
    made.begins()
    made.unit = UnitFacts("inactive", "dead")
    made.says()
    assert made.host.service().phase is Phase.STOPPED
    other = fetches()
    other.begins()
    other.host.operator_starts()
    assert other.host.serving_within(120)
    assert other.stopped == 1


@pytest.mark.parametrize("failure", [F.WEIGHTS_CORRUPT, F.WEIGHTS_MISSING, F.TOKENIZER_MISSING])
def test_a_model_that_vllm_cannot_load_is_mended_once(failure: FailureClass) -> None:
    made = fetches(COMPLETE)
    assert made.host.serving_within(120)
    made.host.dies(failure, status=1)
    made.host.carry_out()
    assert [fetch.repair for fetch in made.asked] == [True]
    made.confirm()
    made.succeeds()
    assert made.host.serving_within(120)
    made.host.dies(failure, status=1)
    made.host.carry_out()
    assert made.host.service().phase is Phase.HELD
    assert len(made.asked) == 1


def test_a_vllm_that_wants_more_than_is_there_is_started_online_from_then_on() -> None:
    made = fetches(COMPLETE)
    assert made.host.serving_within(120)
    made.host.dies(F.HUB_OFFLINE, status=1)
    made.host.pass_time(1)
    made.confirm()
    made.succeeds()
    assert made.host.serving_within(120)
    assert made.host.starts[-1][2].environment["HF_HUB_OFFLINE"] == "0"
    assert len(made.asked) == 1
    made.host.dies(F.ENGINE_DEAD)
    assert made.host.serving_within(120)
    assert len(made.asked) == 1


def test_a_new_model_is_fetched_while_the_old_one_serves_on() -> None:
    made = fetches(COMPLETE)
    assert made.host.serving_within(120)
    policy = made.host.policies["vllm"]
    made.host.policies = {
        "vllm": replace(policy, settings=replace(policy.settings, model="org/new"))
    }
    made.host.hub_cache = LACKS
    made.host.reload()
    made.begins()
    assert made.host.units["vllm"].main_pid
    assert len(made.host.starts) == 1
    made.succeeds()
    assert made.host.serving_within(120)
    assert made.host.starts[-1][2].model == "org/new"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("llmagent-fetch progress done=1 total=4 speed=2", FetchProgress(1, 4, 2.0)),
        (
            "llmagent-fetch plan files=2 total=9 missing=8 free=7 reserve=6 commit=c in=/a b",
            FetchPlan(9, 8, 7, 6, "/a b"),
        ),
        ("llmagent-fetch progress done=x total=4 speed=2", None),
        ("llmagent-fetch plan total=9", None),
        ("llmagent-fetch removed /a: an earlier download", None),
        ("Fetching 5 files", None),
        ("", None),
    ],
)
def test_a_line_of_the_fetch_is_read(line: str, expected: FetchPlan | FetchProgress | None) -> None:
    assert read_line(line) == expected
