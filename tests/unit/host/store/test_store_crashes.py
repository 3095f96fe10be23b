# SPDX-License-Identifier: Apache-2.0
"""What was recorded stays, whatever happens to the writer."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agent.host.store.file import StoreError
from agent.host.store.store import Event, Store

REPO: Final = Path(__file__).parents[4]
KEYS = st.sampled_from(["vllm", "embed", "host", "learned", "ü"])
VALUES = st.text(max_size=20)
EVENTS = st.builds(
    Event,
    at_seconds=st.floats(0, 2e9),
    service=st.sampled_from(["vllm", "embed", ""]),
    kind=st.sampled_from(["observation", "decision"]),
    message=st.text(max_size=30),
    data=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3),
)


class RecordsAndReopens(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "llmagent.db"
        self.store, _ = Store.open(self.path)
        self.state: dict[str, str] = {}
        self.events: list[Event] = []

    @rule(state=st.dictionaries(KEYS, VALUES), events=st.lists(EVENTS, max_size=4))
    def record(self, state: dict[str, str], events: list[Event]) -> None:
        self.store.record(state, events)
        self.state |= state
        self.events += events

    @rule(keys=st.sets(KEYS))
    def delete(self, keys: set[str]) -> None:
        self.store.delete_state(keys)
        self.state = {key: value for key, value in self.state.items() if key not in keys}

    @rule(keep_newest=st.integers(0, 5))
    def prune(self, keep_newest: int) -> None:
        gone = self.store.prune(keep_newest)
        kept = self.events[-keep_newest:] if keep_newest else []
        assert gone == len(self.events) - len(kept)
        self.events = kept

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store, said = Store.open(self.path)
        assert said is None

    @invariant()
    def holds_exactly_what_was_recorded(self) -> None:
        assert self.store.load_state() == self.state
        assert [one.event for one in self.store.events()] == self.events

    def teardown(self) -> None:
        self.store.close()
        self.directory.cleanup()


TestAnySequenceKeepsExactlyWhatWasRecorded = RecordsAndReopens.TestCase
TestAnySequenceKeepsExactlyWhatWasRecorded.settings = settings(
    max_examples=25, stateful_step_count=15, deadline=None
)

WRITER: Final = """
import sys
from pathlib import Path
from agent.host.store.store import Event, Store
store, said = Store.open(Path(sys.argv[1]))
assert said is None, said
number = int(store.load_state().get("number", "0"))
while True:
    number += 1
    events = [Event(number, "vllm", "decision", f"{number}.{part}", {}) for part in range(20)]
    store.record({"number": str(number)}, events)
    print(number, flush=True)
"""


def test_killing_the_writer_at_any_moment_loses_nothing_that_was_recorded(tmp_path: Path) -> None:
    path = tmp_path / "llmagent.db"
    moments = random.Random(1)
    acknowledged = 0
    for _ in range(12):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], cwd=REPO, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline()
        time.sleep(moments.uniform(0, 0.05))
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate()
        complete = rest[: rest.rfind("\n") + 1].split()
        acknowledged = max(acknowledged, *(int(number) for number in complete), 0)

        store, said = Store.open(path)
        with store:
            assert said is None
            number = int(store.load_state()["number"])
            assert number >= acknowledged
            told = [one.event.message for one in store.events()]
            assert told == [f"{n}.{part}" for n in range(1, number + 1) for part in range(20)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(tmp_path)], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_is_an_error_and_loses_nothing_recorded(small_disk: Path) -> None:
    store, _ = Store.open(small_disk / "llmagent.db")
    with store:
        store.record({"vllm": '"ready"'}, [Event(1, "vllm", "decision", "kept", {})])
        filler = small_disk / "filler"
        filler.write_bytes(b"x" * (os.statvfs(small_disk).f_bavail * 4096))
        big = "x" * 300_000
        with pytest.raises(StoreError, match="free space"):
            store.record({"vllm": f'"{big}"'}, [Event(2, "vllm", "decision", big, {})])
        assert store.load_state() == {"vllm": '"ready"'}
        filler.unlink()
        store.record({"vllm": '"again"'}, [Event(3, "vllm", "decision", "after", {})])
        assert [one.event.message for one in store.events()] == ["kept", "after"]


def test_the_history_can_be_read_on_a_disk_that_became_read_only(small_disk: Path) -> None:
    store, _ = Store.open(small_disk / "llmagent.db")
    store.record({}, [Event(1, "vllm", "decision", "kept", {})])
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with Store.read_only(small_disk / "llmagent.db") as reader:
        assert [one.event.message for one in reader.events()] == ["kept"]
