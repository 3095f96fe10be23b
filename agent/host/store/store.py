# SPDX-License-Identifier: Apache-2.0
"""What the agent must remember: its state, and the history of what happened and why."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from agent.core.record import dataclass
from agent.host.store.file import (
    UnusableError,
    connect_alone,
    connect_memory,
    connect_reader,
    connect_writer,
    move_aside,
    newer,
    store_error,
)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened or was decided."""

    at_seconds: float
    """Seconds since 1970."""
    service: str
    """The service's name; "" for the agent and the host."""
    kind: str
    message: str
    """One sentence, the same that log and status show."""
    data: Mapping[str, object]
    """Numbers and evidence; what JSON can hold."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event with its number; later ones have higher numbers, and none is used twice."""

    id: int
    event: Event


class Store:
    """One SQLite file: the writer in the one thread that opened it, readers in any process.

    What `record` returned from survives kill -9 and a power cut. Every method raises StoreError
    and leaves what was recorded as it was.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Is for `open` and `read_only`."""
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> tuple[Self, str | None]:
        """Opens the store for writing, made if absent; the directory must exist.

        A damaged file is moved aside and an empty store is made; one from a newer llmagent is used
        as far as this one knows it. Then the second value is the sentence that says so.
        """
        try:
            try:
                connection = connect_writer(path)
                return cls(path, connection), newer(path, connection)
            except UnusableError as reason:
                aside = move_aside(path)
                fresh = cls(path, connect_writer(path))
                return fresh, (
                    f"{path} could not be used: {reason}; it was moved to {aside} and a new,"
                    " empty one is in use"
                )
        except (sqlite3.Error, OSError, UnusableError) as failure:
            known = failure if isinstance(failure, sqlite3.Error | OSError) else OSError(failure)
            raise store_error(path, "open", known) from failure

    @classmethod
    def in_memory(cls) -> Self:
        """Opens a store that ends with this process, for where no file can be written."""
        return cls(Path(":memory:"), connect_memory())

    @classmethod
    def read_only(cls, path: Path) -> Self:
        """Opens an existing store for reading while another process may write to it."""
        return cls._to_read(path, connect_reader)

    @classmethod
    def read_alone(cls, path: Path) -> Self:
        """Opens an existing store for reading where no other file can be made and nobody writes."""
        return cls._to_read(path, connect_alone)

    @classmethod
    def _to_read(cls, path: Path, connect: Callable[[Path], sqlite3.Connection]) -> Self:
        try:
            return cls(path, connect(path))
        except (sqlite3.Error, OSError) as failure:
            raise store_error(path, "read", failure) from failure

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def record(self, state: Mapping[str, str], events: Sequence[Event]) -> None:
        """Replaces the values of these keys and appends these events: all of it, or nothing.

        Values are JSON text. It is on disk when this returns.
        """
        rows = [
            (event.at_seconds, event.service, event.kind, event.message, _json(event.data))
            for event in events
        ]
        with self._transaction():
            self._connection.executemany(
                "INSERT INTO state (key, value) VALUES (?, ?)"
                " ON CONFLICT DO UPDATE SET value = excluded.value",
                state.items(),
            )
            self._connection.executemany(
                "INSERT INTO event (at_seconds, service, kind, message, data)"
                " VALUES (?, ?, ?, ?, ?)",
                rows,
            )

    def load_state(self) -> dict[str, str]:
        """Returns every key with its JSON text."""
        rows = self._read("SELECT key, value FROM state", ())
        return {str(key): str(value) for key, value in rows}

    def delete_state(self, keys: Iterable[str]) -> None:
        """Forgets these keys; absent ones are fine."""
        with self._transaction():
            self._connection.executemany(
                "DELETE FROM state WHERE key = ?", [(key,) for key in keys]
            )

    def events(
        self,
        since_seconds: float | None = None,
        service: str | None = None,
        limit: int | None = None,
    ) -> list[StoredEvent]:
        """Returns events oldest first: the newest `limit` of those at or after a time."""
        rows = self._read(
            "SELECT id, at_seconds, service, kind, message, data FROM event"
            " WHERE at_seconds >= ? AND (? IS NULL OR service = ?) ORDER BY id DESC LIMIT ?",
            (
                since_seconds if since_seconds is not None else float("-inf"),
                service,
                service,
                limit if limit is not None else -1,
            ),
        )
        return [_stored(row) for row in reversed(rows)]

    def sentences(
        self, limit: int, *, after: int | None = None, before: int | None = None
    ) -> list[StoredEvent]:
        """Returns events without their data, oldest first: `limit` of them cost little memory.

        The oldest with a higher number than `after`, or else the newest with a lower number than
        `before`, or else the newest.
        """
        columns = "SELECT id, at_seconds, service, kind, message, '{}' FROM event"
        if after is not None:
            rows = self._read(f"{columns} WHERE id > ? ORDER BY id LIMIT ?", (after, limit))
            return [_stored(row) for row in rows]
        below = before if before is not None else 2**63 - 1
        rows = self._read(f"{columns} WHERE id < ? ORDER BY id DESC LIMIT ?", (below, limit))
        return [_stored(row) for row in reversed(rows)]

    def events_after(
        self, event_id: int, service: str | None = None, limit: int | None = None
    ) -> list[StoredEvent]:
        """Returns the first `limit` events with a higher number, oldest first; 0 for all."""
        rows = self._read(
            "SELECT id, at_seconds, service, kind, message, data FROM event"
            " WHERE id > ? AND (? IS NULL OR service = ?) ORDER BY id LIMIT ?",
            (event_id, service, service, limit if limit is not None else -1),
        )
        return [_stored(row) for row in rows]

    def prune(self, keep_newest: int) -> int:
        """Deletes the oldest events beyond so many; returns how many."""
        with self._transaction():
            return self._connection.execute(
                "DELETE FROM event WHERE id <="
                " (SELECT id FROM event ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (keep_newest,),
            ).rowcount

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except BaseException as failure:
            # A full disk rolls back by itself; then there is nothing left to roll back.
            if self._connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
            if isinstance(failure, sqlite3.Error):
                raise store_error(self.path, "write to", failure) from failure
            raise

    def _read(self, query: str, arguments: tuple[object, ...]) -> list[tuple[str, ...]]:
        try:
            return self._connection.execute(query, arguments).fetchall()
        except sqlite3.Error as failure:
            raise store_error(self.path, "read", failure) from failure


def _json(data: Mapping[str, object]) -> str:
    return json.dumps(dict(data), separators=(",", ":"))


def _stored(row: tuple[str, ...]) -> StoredEvent:
    number, at_seconds, service, kind, message, data = row
    return StoredEvent(int(number), Event(float(at_seconds), service, kind, message, _data(data)))


def _data(text: str) -> Mapping[str, object]:
    """Return an event's data; a damaged one tells nothing, and hides no other event."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
