# SPDX-License-Identifier: Apache-2.0
"""The loop, with a real store: what a person is told is recorded before it is sent."""

from __future__ import annotations

import json
import queue
from pathlib import Path
from typing import Any

import pytest

from agent.core.settings.config import Config
from agent.core.settings.notify import Notify
from agent.core.state.actions import Action
from agent.core.state.host import Decision, HostState, News
from agent.core.state.phases import Phase
from agent.core.state.policy import HostPolicy
from agent.core.state.rows.stored import OUTBOX, state_of
from agent.core.state.service import ServiceState
from agent.core.state.steering.wishes import Pause
from agent.core.state.telling.outbox import Outbox
from agent.core.state.telling.sending import Send, Sent
from agent.daemon.loop import Loop, Message
from agent.daemon.recorder import Recorder
from agent.host.machine.reading_mark import ReadingMark
from agent.host.store.store import Store

HELD = News("vllm", "held", "held: gated-repo: it is gated. To do: Ask for access.")


class Host:
    """A loop without threads: what it submits is kept, with what the store had then."""

    def __init__(self, place: Path, notify: Notify) -> None:
        self.place, self.now = place / "llmagent.db", 1.7e9
        store, _ = Store.open(self.place)
        self.submitted: list[tuple[Action, Outbox | None]] = []
        self.loop = Loop(
            queue.SimpleQueue[Message](),
            Recorder(store),
            place / "agent.toml",
            Config(notify=notify),
            lambda: self.now,
            submit=lambda action: self.submitted.append((action, self.stored())),
            publish=self._publish,
            watch=lambda _state: None,
            cursors=dict,
            mark=ReadingMark(place / "reading"),
            unread=(),
        )

    def _publish(
        self, state: HostState, _policy: HostPolicy, _mistakes: tuple[str, ...]
    ) -> dict[str, str]:
        self.state = state
        return {}

    def stored(self) -> Outbox | None:
        with Store.read_only(self.place) as store:
            return state_of(store.load_state())[0].outbox

    def hears(self, *news: News, after: float = 0.0) -> None:
        self.now += after
        self.loop._carry_out(Decision(self.loop._state, (), news))


def test_a_message_is_in_the_store_before_it_is_sent_and_gone_once_it_was(tmp_path: Path) -> None:
    host = Host(tmp_path, Notify(urls_file="/etc/llmagent/notify.urls"))
    host.hears(HELD)
    assert host.submitted == []
    host.hears(after=10.0)
    ((send, stored),) = host.submitted
    assert isinstance(send, Send)
    assert stored is not None
    assert stored.messages == (send.message,)
    assert "to do: Ask for access." in send.message.body
    sent = Sent(host.now, send.message.number, sent=True, took=("1 ntfy",))
    host.loop._handle(sent)
    after = host.stored()
    assert after is not None
    assert after.messages == ()
    with Store.read_only(host.place) as store:
        told = [row.event.message for row in store.events() if row.event.kind == "told"]
    assert told == ["told 1 ntfy: vllm is held: gated-repo: it is gated."]


def test_a_new_process_sends_what_the_last_one_did_not(tmp_path: Path) -> None:
    notify = Notify(urls_file="/etc/llmagent/notify.urls")
    first = Host(tmp_path, notify)
    first.hears(HELD)
    first.hears(after=10.0)
    second = Host(tmp_path, notify)
    second.hears()
    assert [type(action) for action, _ in second.submitted] == [Send]


def test_where_nobody_is_told_nothing_is_kept(tmp_path: Path) -> None:
    host = Host(tmp_path, Notify())
    host.hears(HELD)
    host.hears(after=10.0)
    assert (host.submitted, host.stored()) == ([], None)
    with Store.read_only(host.place) as store:
        assert json.loads(store.load_state().get(OUTBOX, "null")) is None


def test_a_telling_that_fails_ends_nothing_and_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The decision is recorded, and its actions are taken up."""
    odd: Any = "loud"
    host = Host(tmp_path, Notify(urls_file="/etc/llmagent/notify.urls", least=odd))
    for _ in range(3):
        host.hears(HELD, after=10.0)
    with Store.read_only(host.place) as store:
        assert [row.event.message for row in store.events()] == [HELD.message] * 3
    assert capsys.readouterr().err.count("is not told") <= 1


def test_threads_that_cannot_begin_are_tried_again_with_the_next_decision(tmp_path: Path) -> None:
    """So it is at the limit of tasks of the agent's unit."""
    host, tries = Host(tmp_path, Notify()), []

    def watch(state: HostState) -> None:
        tries.append(state)
        if len(tries) < 3:
            raise RuntimeError("can't start new thread")

    host.loop._watch = watch
    for _ in range(5):
        host.hears(after=1.0)
    assert len(tries) == 3


def test_a_state_that_cannot_be_written_as_text_ends_nothing(tmp_path: Path) -> None:
    host = Host(tmp_path, Notify())
    odd: Any = {"vllm": ServiceState("vllm", reason=b"bytes")}  # type: ignore[arg-type]
    host.loop._carry_out(Decision(HostState(services=odd), (), (HELD,)))
    assert host.state.services["vllm"].name == "vllm"


def test_systemctl_status_says_what_is_paused(tmp_path: Path) -> None:
    host = Host(tmp_path, Notify())
    pause = Pause(host.now, host.now + 60.0, "root")
    services = {
        "vllm": ServiceState("vllm", Phase.SERVING, pause=pause),
        "embed": ServiceState("embed", Phase.SERVING),
    }
    host.loop._state = HostState(services=services, pause=pause)
    assert host.loop._status() == "paused; vllm: serving (paused), embed: serving"
    host.loop._state = HostState(services={"embed": services["embed"]})
    assert host.loop._status() == "embed: serving"
