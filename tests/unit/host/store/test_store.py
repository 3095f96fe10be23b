# SPDX-License-Identifier: Apache-2.0
"""The store keeps exactly what was recorded, and says so when it cannot."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.host.store.file import StoreError
from agent.host.store.store import Event, Store, StoredEvent


def event(message: str, at_seconds: float = 100.0, service: str = "vllm") -> Event:
    return Event(at_seconds, service, "decision", message, {"gib": 1.5, "lines": ["a", "b"]})


def messages(stored: list[StoredEvent]) -> list[str]:
    return [one.event.message for one in stored]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "llmagent.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened, said = Store.open(path)
    assert said is None
    with opened:
        yield opened


def test_a_new_store_is_empty_and_only_its_owner_can_read_it(store: Store, path: Path) -> None:
    store.record({"a": "1"}, [])
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes["llmagent.db"] == 0o600
    assert set(modes.values()) == {0o600}


def test_a_key_has_the_value_recorded_last(store: Store) -> None:
    store.record({"vllm": '{"phase": "ready"}', "host": "{}"}, [])
    store.record({"vllm": '{"phase": "failed"}'}, [])
    assert store.load_state() == {"vllm": '{"phase": "failed"}', "host": "{}"}


def test_deleted_keys_are_gone_and_the_others_stay(store: Store) -> None:
    store.record({"a": "1", "b": "2"}, [])
    store.delete_state(["a", "never there"])
    assert store.load_state() == {"b": "2"}


def test_an_event_comes_back_as_it_was(store: Store) -> None:
    told = Event(1.25, "embed", "action", "Zeile mit ü\nund mehr", {"n": 1, "why": None, "ü": [2]})
    store.record({}, [told])
    assert [one.event for one in store.events()] == [told]


def test_events_are_told_oldest_first_and_a_limit_keeps_the_newest(store: Store) -> None:
    store.record({}, [event("one"), event("two"), event("three")])
    assert messages(store.events()) == ["one", "two", "three"]
    assert messages(store.events(limit=2)) == ["two", "three"]


def test_events_can_be_asked_for_by_time_and_service(store: Store) -> None:
    store.record({}, [event("early", 10), event("late", 20), event("other", 30, "embed")])
    assert messages(store.events(since_seconds=20)) == ["late", "other"]
    assert messages(store.events(service="vllm")) == ["early", "late"]
    assert messages(store.events(since_seconds=11, service="vllm", limit=5)) == ["late"]


def test_a_follower_gets_each_event_once(store: Store) -> None:
    store.record({}, [event("one"), event("two"), event("three", service="embed")])
    first = store.events_after(0, limit=2)
    assert messages(first) == ["one", "two"]
    assert messages(store.events_after(first[-1].id)) == ["three"]
    assert messages(store.events_after(first[-1].id, service="vllm")) == []


def test_sentences_are_read_forwards_and_backwards_without_what_was_recorded_beside(
    store: Store,
) -> None:
    store.record({}, [event(str(number)) for number in range(1, 8)])
    newest = store.sentences(3)
    assert messages(newest) == ["5", "6", "7"]
    assert messages(store.sentences(3, before=newest[0].id)) == ["2", "3", "4"]
    assert messages(store.sentences(2, after=newest[0].id - 2)) == ["4", "5"]
    assert messages(store.sentences(9, after=newest[-1].id)) == []
    assert all(not one.event.data for one in newest)


def test_pruning_keeps_the_newest_whatever_the_clock_said(store: Store) -> None:
    two_years_ahead = [event(str(at), at if at % 2 else at + 63e6) for at in range(10)]
    store.record({}, two_years_ahead)
    assert store.prune(keep_newest=5) == 5
    assert messages(store.events()) == ["5", "6", "7", "8", "9"]
    assert store.prune(keep_newest=100) == 0


def test_a_number_is_never_used_twice_even_when_all_events_were_pruned(store: Store) -> None:
    store.record({}, [event("old")])
    last = store.events()[-1].id
    store.prune(keep_newest=0)
    store.record({}, [event("new")])
    assert messages(store.events_after(last)) == ["new"]


def test_nothing_of_a_record_is_kept_when_a_part_of_it_cannot_be(store: Store) -> None:
    bad = Event(1.0, "vllm", "decision", "m", {"not json": object()})
    with pytest.raises(TypeError):
        store.record({"a": "1"}, [event("first"), bad])
    assert store.load_state() == {}
    assert store.events() == []


def test_a_reader_sees_what_the_open_writer_has_recorded(store: Store, path: Path) -> None:
    store.record({}, [event("one")])
    with Store.read_only(path) as reader:
        assert messages(reader.events()) == ["one"]
        store.record({}, [event("two")])
        assert messages(reader.events()) == ["one", "two"]


def test_a_reader_can_read_while_no_writer_runs(path: Path) -> None:
    writer, _ = Store.open(path)
    writer.record({}, [event("one")])
    writer.close()
    with Store.read_only(path) as reader:
        assert messages(reader.events()) == ["one"]


def test_a_reader_cannot_write(store: Store, path: Path) -> None:
    with Store.read_only(path) as reader, pytest.raises(StoreError):
        reader.record({"a": "1"}, [])
    assert store.load_state() == {}


def test_a_reader_says_which_file_is_absent(path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot read .*llmagent\.db"):
        Store.read_only(path)
    assert not path.exists()


def test_only_the_thread_that_opened_it_may_write(store: Store) -> None:
    failures: list[sqlite3.Error | StoreError] = []

    def write() -> None:
        try:
            store.record({"a": "1"}, [])
        except (sqlite3.Error, StoreError) as failure:
            failures.append(failure)

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    assert [type(failure) for failure in failures] == [StoreError]
    assert store.load_state() == {}


def assert_moved_aside(path: Path, said: str | None, content: bytes) -> None:
    (aside,) = path.parent.glob("llmagent.db.damaged-*Z")
    assert said is not None
    assert str(aside) in said
    assert aside.read_bytes() == content


@pytest.mark.parametrize(
    "garbage", [b"not a database at all, just text" * 40, b"\xff" * 4096, b"SQLite format 3\0" * 99]
)
def test_a_damaged_file_is_moved_aside_and_said(path: Path, garbage: bytes) -> None:
    path.write_bytes(garbage)
    os.utime(path, (86400, 86400))
    store, said = Store.open(path)
    with store:
        assert_moved_aside(path, said, garbage)
        assert (path.parent / "llmagent.db.damaged-19700102T000000Z").exists()
        store.record({"a": "1"}, [event("goes on")])
        assert messages(store.events()) == ["goes on"]


def test_a_file_with_a_damaged_page_is_moved_aside(path: Path) -> None:
    store, _ = Store.open(path)
    store.record({f"key {n}": '"' + "x" * 500 + '"' for n in range(200)}, [event("m")] * 200)
    store.close()
    content = bytearray(path.read_bytes())
    content[8192:16384] = os.urandom(8192)
    path.write_bytes(content)
    fresh, said = Store.open(path)
    with fresh:
        assert_moved_aside(path, said, bytes(content))
        assert fresh.load_state() == {}


def test_a_second_damaged_file_does_not_replace_the_first(path: Path) -> None:
    for garbage in (b"first" * 500, b"second" * 500):
        path.write_bytes(garbage)
        os.utime(path, (86400, 86400))
        Store.open(path)[0].close()
    kept = {file.read_bytes() for file in path.parent.glob("*.damaged-*") if file.is_file()}
    assert kept == {b"first" * 500, b"second" * 500}


def test_a_file_of_a_newer_llmagent_is_used_as_far_as_this_one_knows_it(path: Path) -> None:
    store, _ = Store.open(path)
    store.record({"vllm": "1"}, [event("before")])
    store.close()
    newer = sqlite3.connect(path)
    newer.executescript(
        "ALTER TABLE state ADD COLUMN at_seconds REAL; ALTER TABLE event ADD COLUMN host TEXT;"
        "CREATE TABLE future (x); PRAGMA user_version = 2;"
    )
    newer.close()
    for said_of in ("before", "after"):
        store, said = Store.open(path)
        with store:
            assert said is not None
            assert "newer llmagent (schema 2, this one knows 1)" in said
            assert store.load_state()["vllm"] == "1"
            store.record({"embed": "2"}, [event("after")])
            assert messages(store.events())[0] == "before", said_of
    assert [file.name for file in path.parent.glob("*damaged*")] == []
    back = sqlite3.connect(path)
    assert back.execute("PRAGMA user_version").fetchone() == (2,)
    assert back.execute("SELECT count(*) FROM future").fetchone() == (0,)
    back.close()


def test_a_damaged_text_hides_no_other(store: Store, path: Path) -> None:
    store.record({"vllm": "1"}, [event("one"), event("two")])
    store._connection.execute("INSERT INTO state VALUES ('x', CAST(x'ff00fe' AS TEXT))")
    store._connection.execute("UPDATE event SET data = CAST(x'ff7b' AS TEXT) WHERE id = 1")
    assert store.load_state()["vllm"] == "1"
    with Store.read_only(path) as reader:
        assert messages(reader.events()) == ["one", "two"]


def test_a_file_that_is_no_store_by_its_tables_is_moved_aside_whole(path: Path) -> None:
    newer = sqlite3.connect(path)
    newer.executescript("CREATE TABLE future (x); PRAGMA user_version = 99;")
    newer.close()
    content = path.read_bytes()
    store, said = Store.open(path)
    with store:
        assert said is not None
        assert "no such table" in said
        assert store.load_state() == {}
    (aside,) = path.parent.glob("*.damaged-*")
    kept = sqlite3.connect(aside)
    assert kept.execute("SELECT count(*) FROM future").fetchone() == (0,)
    kept.close()
    assert len(content) == aside.stat().st_size


def test_some_other_programs_database_is_not_written_to(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    store, said = Store.open(path)
    store.close()
    assert said is not None
    assert "other program" in said


def test_a_missing_directory_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="absent"):
        Store.open(tmp_path / "absent" / "llmagent.db")
