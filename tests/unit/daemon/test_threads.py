# SPDX-License-Identifier: Apache-2.0
"""Sources and lanes: what goes wrong in one shows, is retried, and stays there."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

from agent.core.state.host import HostState, News
from agent.core.state.observations import ActionDone, Observation, Tick
from agent.core.state.phases import Phase
from agent.core.state.service import ServiceState
from agent.daemon.clock import agent_clock
from agent.daemon.effectors.lane import MOST_LEFT_BEHIND, Lane
from agent.daemon.recorder import Recorder
from agent.daemon.sources.thread import SourceThread
from agent.host.store.store import Store

SECONDS = 10.0


class FailingSource:
    """Fails the first time and rests from then on; notes whether it is used after its end."""

    name = "failing"

    def __init__(self) -> None:
        self.failed = threading.Event()
        self.worked = threading.Event()
        self.closed = False
        self._woken = threading.Event()

    def look(self) -> None:
        assert not self.closed
        if not self.failed.is_set():
            self.failed.set()
            raise OSError("the bus is away")
        self.worked.set()
        self._woken.wait(0.05)

    def wake(self) -> None:
        assert not self.closed, "woken after it was closed"
        self._woken.set()

    def close(self) -> None:
        self.closed = True


def test_a_source_that_fails_shows_as_down_and_is_tried_again() -> None:
    source = FailingSource()
    thread = SourceThread(source, agent_clock())
    thread.start()
    assert source.failed.wait(SECONDS)
    assert source.worked.wait(SECONDS)
    thread.ask_to_stop()
    thread.join(SECONDS)
    assert source.closed
    assert thread.health.up


def test_a_source_is_closed_only_when_nobody_can_wake_it_any_more() -> None:
    for _ in range(50):
        source = FailingSource()
        source.failed.set()
        thread = SourceThread(source, agent_clock())
        thread.start()
        thread.ask_to_stop()
        thread.join(SECONDS)
        assert source.closed


def test_a_lane_tells_what_failed_and_goes_on_with_the_next() -> None:
    told: queue.SimpleQueue[Observation] = queue.SimpleQueue()

    def carry_out(action: int) -> Observation:
        if action == 1:
            raise OSError("No space left on device")
        return Tick(float(action))

    def failed(action: int, why: str) -> Observation:
        return ActionDone(0.0, "vllm", action, succeeded=False, detail=why)

    lane = Lane("unit:vllm", lambda: carry_out, failed, told.put)
    lane.submit(1)
    lane.submit(2)
    first, second = told.get(timeout=SECONDS), told.get(timeout=SECONDS)
    lane.close()
    assert first == ActionDone(0.0, "vllm", 1, succeeded=False, detail="No space left on device")
    assert second == Tick(2.0)


def test_a_lane_that_does_not_come_back_is_replaced_and_told() -> None:
    told: queue.SimpleQueue[Observation] = queue.SimpleQueue()
    stuck, entered = threading.Event(), threading.Event()
    made: list[int] = []

    def make() -> Callable[[int], Observation]:
        made.append(len(made))

        def carry_out(action: int) -> Observation:
            if action == 1:
                entered.set()
                stuck.wait(SECONDS)
            return Tick(float(action))

        return carry_out

    def failed(action: int, why: str) -> Observation:
        return ActionDone(0.0, "vllm", action, succeeded=False, detail=why)

    lane = Lane("unit:vllm", make, failed, told.put, seconds=lambda _action: 0.5)
    lane.submit(1)
    lane.submit(2)
    assert entered.wait(SECONDS)
    lane.replace_if_hung()
    assert told.empty()
    time.sleep(0.6)
    lane.replace_if_hung()
    first, second = told.get(timeout=SECONDS), told.get(timeout=SECONDS)
    assert isinstance(first, ActionDone)
    assert (first.action_id, first.succeeded) == (1, False)
    assert "did not come back within" in first.detail
    assert second == Tick(2.0)
    stuck.set()
    lane.submit(3)
    assert told.get(timeout=SECONDS) == Tick(3.0)
    assert told.empty(), "what the hung action came to was told after all"
    lane.close()
    assert made == [0, 1]


def test_a_lane_leaves_only_a_few_threads_behind() -> None:
    told: queue.SimpleQueue[Observation] = queue.SimpleQueue()
    stuck = threading.Event()

    def hang(_action: int) -> Observation:
        stuck.wait(SECONDS)
        return Tick(0.0)

    def failed(action: int, why: str) -> Observation:
        return ActionDone(0.0, "vllm", action, succeeded=False, detail=why)

    before = threading.active_count()
    lane = Lane("unit:vllm", lambda: hang, failed, told.put, seconds=lambda _action: 0.0)
    for number in range(20):
        lane.submit(number)
        time.sleep(0.02)
        lane.replace_if_hung()
    assert threading.active_count() - before <= MOST_LEFT_BEHIND + 1
    stuck.set()


def state(phase: Phase) -> HostState:
    return HostState("boot", 7, {"vllm": ServiceState("vllm", phase)})


def test_what_was_recorded_is_what_the_next_process_finds(tmp_path: Path) -> None:
    with Store.open(tmp_path / "llmagent.db")[0] as store:
        recorder = Recorder(store)
        news = [News("vllm", "start", "start vllm.service")]
        recorder.record(HostState(), state(Phase.STARTING), news, 5.0, {"vllm": "s=1"})
    with Store.open(tmp_path / "llmagent.db")[0] as store:
        again = Recorder(store)
        found, problems = again.load()
        assert found == state(Phase.STARTING)
        assert problems == ()
        assert again.cursor("vllm") == "s=1"
        assert [stored.event.message for stored in store.events()] == ["start vllm.service"]


def test_an_unreadable_part_of_the_memory_is_forgotten_loudly_and_the_rest_kept(
    tmp_path: Path,
) -> None:
    with Store.open(tmp_path / "llmagent.db")[0] as store:
        store.record({"service:embed": '["no", "table"]'}, [])
        recorder = Recorder(store)
        recorder.record(HostState(), state(Phase.SERVING), (), 5.0)
        found, problems = Recorder(store).load()
    assert list(found.services) == ["vllm"]
    assert len(problems) == 1
    assert "service:embed" in problems[0]


def test_a_store_that_cannot_be_written_does_not_stop_the_agent_and_shows(tmp_path: Path) -> None:
    with Store.open(tmp_path / "llmagent.db")[0] as store:
        recorder = Recorder(store)
        store._connection.execute("PRAGMA query_only = ON")  # as on a disk gone read-only
        told = [News("vllm", "serving", "serving")]
        recorder.record(HostState(), state(Phase.SERVING), told, 5.0)
        assert not recorder.health.up
        assert "readonly" in recorder.health.detail
        store._connection.execute("PRAGMA query_only = OFF")
        recorder.record(state(Phase.SERVING), state(Phase.SERVING), (), 6.0)
        assert recorder.health.up
        assert "service:vllm" in store.load_state()
        assert [stored.event.at_seconds for stored in store.events()] == [5.0]
