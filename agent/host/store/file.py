# SPDX-License-Identifier: Apache-2.0
"""The store's file: its schema, opening it, and moving it aside when it is of no use."""

from __future__ import annotations

import datetime
import os
import sqlite3
from pathlib import Path
from typing import Final

from agent.errors import HostLacksError

SCHEMA_VERSION: Final = 1
_CREATE: Final = """
CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice, so that a follower misses nothing
    at_seconds REAL NOT NULL,              -- since 1970
    service TEXT NOT NULL,
    kind TEXT NOT NULL,
    message TEXT NOT NULL,
    data TEXT NOT NULL                     -- JSON object
);
"""
_MIGRATIONS: Final[dict[int, str]] = {0: _CREATE}
"""The SQL that takes a file from this version to the next."""
_NOT_THE_FILE_S_FAULT: Final = (
    *("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM"),
    *("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_NOMEM", "SQLITE_AUTH"),
)
_BUSY_SECONDS: Final = 5.0
_WAL_BYTES: Final = 4 * 1024 * 1024


class StoreError(HostLacksError):
    """Tells that the store could not be read or written; what was recorded before is safe."""


class UnusableError(Exception):
    """Tells why a store file must be moved aside; never leaves `Store.open`."""


def store_error(path: Path, what: str, failure: sqlite3.Error | OSError) -> StoreError:
    """Says what happened to the file and what to do."""
    name = getattr(failure, "sqlite_errorname", "")
    if isinstance(failure, PermissionError):
        advice = "only root may read it"
    elif name == "SQLITE_FULL":
        advice = f"free space on the file system of {path.parent}"
    elif name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        advice = f"see that {path.parent} exists, is not mounted read-only and belongs to us"
    elif name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        advice = "restart llmagent: it moves the file aside and starts a new one"
    elif name.startswith("SQLITE_IOERR"):
        advice = "look for disk errors in `journalctl -k`"
    elif name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        advice = "another process holds it: `fuser` shows which"
    else:
        advice = f"look at {path.parent}"
    return StoreError(f"cannot {what} {path}: {failure}; {advice}")


def connect_writer(path: Path) -> sqlite3.Connection:
    """Opens the file, made if absent, with the newest schema; 0600, as its journals are too.

    Raises UnusableError for a file that is damaged or no store, sqlite3.Error or OSError for
    anything that another file would not cure.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    connection.text_factory = _text
    try:
        path.chmod(0o600)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}")
        _check(connection)
        _migrate(connection)
    except sqlite3.Error as failure:
        connection.close()
        if _another_file_would_fail_too(failure):
            raise
        raise UnusableError(str(failure)) from failure
    except BaseException:
        connection.close()
        raise
    return connection


def connect_memory() -> sqlite3.Connection:
    """Opens a store that has no file and ends with its connection."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.text_factory = _text
    _migrate(connection)
    return connection


def _text(stored: bytes) -> str:
    """A text that is damaged is one that is shown with marks in it, not an error for all."""
    return stored.decode("utf-8", "replace")


def _another_file_would_fail_too(failure: sqlite3.Error) -> bool:
    name = getattr(failure, "sqlite_errorname", "")
    return name.startswith(_NOT_THE_FILE_S_FAULT)


def connect_reader(path: Path) -> sqlite3.Connection:
    """Opens an existing file for reading, also while the daemon writes to it."""
    try:
        return _reader(path, "mode=ro")
    except sqlite3.OperationalError:
        if not path.exists() or not os.statvfs(path).f_flag & os.ST_RDONLY:
            raise
    # A disk that became read-only: SQLite cannot make the WAL's index, and nobody can write.
    return _reader(path, "immutable=1")


def connect_alone(path: Path) -> sqlite3.Connection:
    """Opens an existing file that no other process has open, with its write-ahead log.

    Locked for one connection, SQLite has the log's index in memory (sqlite.org/wal.html, section
    8): on a full disk there is no room for its file.
    """
    try:
        return _reader(path, "mode=rw", "PRAGMA locking_mode=EXCLUSIVE; PRAGMA query_only=ON;")
    except sqlite3.OperationalError:
        return connect_reader(path)


def _reader(path: Path, how: str, first: str = "") -> sqlite3.Connection:
    name = f"{path.absolute().as_uri()}?{how}"
    connection = sqlite3.connect(name, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
    connection.text_factory = _text
    try:
        connection.executescript(first)
        connection.execute("SELECT 1 FROM event LIMIT 1").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection) -> None:
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise UnusableError(verdict)
    version = _version(connection)
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if version == 0 and tables:
        raise UnusableError("it is some other program's database")
    if version:
        # What is read; other tables and columns are a newer version's own.
        connection.execute("SELECT key, value FROM state LIMIT 1").fetchone()
        connection.execute(
            "SELECT id, at_seconds, service, kind, message, data FROM event LIMIT 1"
        ).fetchone()


def newer(path: Path, connection: sqlite3.Connection) -> str | None:
    """Returns the sentence that says of a file that a newer llmagent wrote it, None of others."""
    version = _version(connection)
    if version <= SCHEMA_VERSION:
        return None
    return (
        f"{path} was written by a newer llmagent (schema {version}, this one knows"
        f" {SCHEMA_VERSION}): what this one knows of it is used"
    )


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _migrate(connection: sqlite3.Connection) -> None:
    for version in range(_version(connection), SCHEMA_VERSION):
        connection.executescript(
            f"BEGIN IMMEDIATE; {_MIGRATIONS[version]} PRAGMA user_version={version + 1}; COMMIT;"
        )


def move_aside(path: Path) -> Path:
    """Renames the file and its journals to NAME.damaged-TIME, TIME being its last change, UTC."""
    changed = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
    stem = f"{path.name}.damaged-{changed:%Y%m%dT%H%M%SZ}"
    aside = path.with_name(stem)
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{stem}-{number}")
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        journal = path.with_name(path.name + suffix)
        if journal.exists():
            journal.rename(aside.with_name(aside.name + suffix))
    return aside
