# SPDX-License-Identifier: Apache-2.0
"""What a start reads is listed once it serves, and read when a start is near; never beside one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.measures import DAY_SECONDS, GIB
from agent.core.settings.engine import EngineSettings, Runtime
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.actions import Action, EndReading, ForgetFiles, ListFiles, ReadAhead, Start
from agent.core.state.observations import AgentStarted
from agent.core.state.phases import Phase
from agent.core.state.start.ahead import AheadSeen, FilesRead
from agent.core.state.steering.asked import OperatorAsked
from agent.core.state.steering.requests import AskPause, AskRestart
from tests.given.simulated_host import SimulatedHost

SETTLES = 5
READ = FilesRead(10_209, GIB, GIB // 4, 3 * GIB // 4)
OF_IT = (ListFiles, ReadAhead, EndReading, ForgetFiles)


@dataclass
class Disk(SimulatedHost):
    """Lists at once; what it reads takes until `comes`."""

    did: list[Action] = field(default_factory=list)
    comes: FilesRead = READ

    def _do(self, action: Action) -> None:
        if isinstance(action, OF_IT):
            self.did.append(action)
        if isinstance(action, ListFiles):
            seen = AheadSeen(self.now, action.service, action.invocation_id, 10_209, GIB)
            self.observe(seen)
        super()._do(action)

    def is_read(self, service: str = "vllm") -> None:
        self.observe(AheadSeen(self.now, service, read=self.comes))

    def count(self, kind: type) -> int:
        return sum(isinstance(action, kind) for action in self.did)

    def asks_for(self, at: float | None, *, when_idle: bool = False, service: str = "vllm") -> None:
        time_of_day = None if at is None else at % DAY_SECONDS
        asked = AskRestart(service, when_idle=when_idle, time_of_day=time_of_day)
        self.observe(OperatorAsked(self.now, 7, asked, "root", self.now % DAY_SECONDS))
        self.carry_out()

    @property
    def said(self) -> list[str]:
        return [line.message for line in self.history if line.kind == "ahead"]


def policy(
    name: str = "vllm", *, read_ahead: bool = True, runtime: Runtime = Runtime.VENV
) -> ServicePolicy:
    engine = EngineSettings(runtime=runtime, image=None if runtime is Runtime.VENV else "vllm")
    recovery = Recovery(settle_seconds=SETTLES, read_ahead=read_ahead)
    return ServicePolicy(Settings(name, "/srv/m", engine=engine), recovery=recovery)


def settled(*policies: ServicePolicy) -> Disk:
    host = Disk({one.settings.name: one for one in policies or (policy(),)})
    host.agent_starts()
    host.pass_time(60 * len(host.policies))
    assert all(s.settled for s in host.state.services.values())
    return host


def test_what_a_start_reads_is_listed_once_for_each_run_that_settles() -> None:
    host = settled()
    (listed,) = host.did
    assert isinstance(listed, ListFiles)
    assert listed.invocation_id == host.service().invocation_id
    host.pass_time(1000)
    host.agent_starts()
    host.pass_time(300)
    assert host.count(ListFiles) == 1
    host.dies(None)
    host.pass_time(400)
    assert host.count(ListFiles) == 2
    assert host.service().ahead.files == 10_209


def test_a_run_that_has_not_settled_may_have_read_only_half_of_it() -> None:
    host = Disk({"vllm": policy()})
    host.agent_starts()
    assert host.serving_within(100)
    assert host.did == []


def test_what_is_in_an_image_is_not_seen_and_what_is_switched_off_not_done() -> None:
    assert settled(policy(runtime=Runtime.PODMAN)).did == []
    assert settled(policy(read_ahead=False)).did == []


def test_before_a_restart_at_a_time_of_day_its_files_are_read_and_the_share_is_told() -> None:
    host = settled()
    host.asks_for(host.now + 1000)
    host.pass_time(690)
    assert host.count(ReadAhead) == 0
    host.pass_time(20)
    assert host.did[-1] == ReadAhead("vllm")
    host.is_read()
    host.pass_time(200)
    assert host.count(ReadAhead) == 1
    assert host.service().ahead.read == READ
    assert host.said == [
        "1.00 GiB in 10209 files, which a start reads: 25% were in memory, the rest was read ahead"
    ]
    before = host.service().invocation_id
    host.pass_time(300)
    assert host.service().invocation_id != before
    assert host.count(EndReading) == 0


def test_a_start_ends_what_is_still_read() -> None:
    host = settled()
    host.asks_for(host.now + 400)
    host.pass_time(500)
    assert host.count(ReadAhead) == 1
    assert host.count(EndReading) == 1
    host.comes = replace(READ, read_bytes=GIB // 2, stopped="it was ended")
    host.is_read()
    assert host.said[-1].endswith("25% were in memory, 0.50 GiB were read ahead (it was ended)")


def test_a_start_that_systemd_makes_by_itself_ends_it_too() -> None:
    host = settled()
    host.asks_for(host.now + 200)
    host.pass_time(5)
    assert host.count(ReadAhead) == 1
    host.operator_stops()
    host.operator_starts()
    host.carry_out()
    assert host.count(EndReading) == 1


def test_nothing_is_read_while_another_service_loads() -> None:
    host = settled(policy(), policy("embed"))
    host.did.clear()
    host.start_takes = 200
    host.dies(None, service="embed")
    host.pass_time(20)
    assert host.service("embed").phase is Phase.STARTING
    host.asks_for(host.now + 280)
    host.pass_time(100)
    assert host.count(ReadAhead) == 0
    host.pass_time(150)
    assert host.service("embed").phase is Phase.SERVING
    assert host.count(ReadAhead) == 1


def test_of_two_services_one_after_the_other_is_read() -> None:
    host = settled(policy(), policy("embed"))
    host.asks_for(host.now + 250)
    host.asks_for(host.now + 260, service="embed")
    host.pass_time(20)
    assert host.did[-1] == ReadAhead("vllm")
    host.is_read()
    host.pass_time(2)
    assert host.did[-1] == ReadAhead("embed")


def test_before_a_restart_in_an_idle_moment_its_files_are_read_at_once() -> None:
    host = settled()
    host.asks_for(None, when_idle=True)
    host.pass_time(3)
    assert host.did[-1] == ReadAhead("vllm")


def test_in_a_pause_nothing_is_read() -> None:
    host = settled()
    host.asks_for(host.now + 200)
    host.did.clear()
    host.observe(OperatorAsked(host.now, 8, AskPause("vllm", 7200.0), "root", 0.0))
    host.pass_time(150)
    assert host.did == []


def test_after_a_boot_it_is_told_what_was_read_while_the_host_came_up() -> None:
    host = settled()
    host.reboots()
    host.carry_out()
    assert ReadAhead("vllm", begun=True) in host.did
    host.comes = replace(READ, read_bytes=0)
    host.is_read()
    assert "25% were in memory, 0.00 GiB were read ahead" in host.said[-1]
    assert host.serving_within(100)


def test_a_reading_that_ended_before_the_services_turn_came_is_over_and_no_news() -> None:
    host = settled()
    host.observe(AgentStarted(host.now, "boot-2"))
    assert host.service().ahead.reading_since
    host.observe(AheadSeen(host.now, "vllm"))
    assert not host.service().ahead.reading_since
    assert host.service().ahead.files == 10_209
    assert host.said == []


def test_an_agent_that_was_killed_meanwhile_hears_of_it_all_the_same() -> None:
    host = settled()
    host.asks_for(host.now + 250)
    host.pass_time(2)
    host.did.clear()
    host.agent_starts()
    host.carry_out()
    assert host.did == [ReadAhead("vllm", begun=True)]


def test_who_switches_it_off_has_the_list_removed() -> None:
    host = settled()
    host.policies = {"vllm": policy(read_ahead=False)}
    host.reload()
    host.carry_out()
    assert host.did[-1] == ForgetFiles("vllm")
    assert host.service().ahead.files == 0
    host.pass_time(100)
    assert host.count(ForgetFiles) == 1


def test_what_came_to_nothing_is_said_and_not_tried_again_for_the_same_run() -> None:
    host = settled()
    host.observe(AheadSeen(host.now, "vllm", problem="status 1: no such program"))
    assert host.said == ["nothing is read ahead of a start: status 1: no such program"]
    host.pass_time(100)
    assert host.count(ListFiles) == 1


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["dies", "restart", "read", "agent", "wait"]), max_size=12))
def test_no_file_is_read_while_an_engine_loads(story: list[str]) -> None:
    """Whatever happens: a reading that was asked for is over before the engine's start goes on."""
    host = settled()
    reads = False

    def watch(action: Action) -> None:
        nonlocal reads
        loads = any(s.phase is Phase.STARTING for s in host.state.services.values())
        if isinstance(action, ReadAhead) and not action.begun:
            assert not loads
            reads = True
        elif isinstance(action, Start | EndReading):  # a start ends the reading before it begins
            reads = False

    host.on_action = watch
    for step in story:
        match step:
            case "dies" if "vllm" in host.runs:
                host.dies(None)
            case "restart":
                host.asks_for(host.now + 30)
            case "read":
                host.is_read()
                reads = False
            case "agent":
                host.agent_starts()
            case _:
                host.pass_time(40)
        host.carry_out()
        loads = any(s.phase is Phase.STARTING for s in host.state.services.values())
        assert not (loads and reads)
