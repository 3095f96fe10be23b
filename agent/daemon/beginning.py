# SPDX-License-Identifier: Apache-2.0
"""How the daemon's process begins: its store, its configuration, and beginning once more."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from agent.config import agent_toml
from agent.core.settings.config import Config
from agent.daemon.log import log
from agent.daemon.recorder import Recorder
from agent.errors import ConfigError
from agent.host.store.file import StoreError
from agent.host.store.salvage import journals_of, stored_rows
from agent.host.store.store import Store

STORE = "llmagent.db"
COPY = "llmagent.db.copy"

REMOVED = "package-removed"
"""Written by the package's prerm into the state directory: it has stopped what was serving."""


def open_store(state: Path, runtime: Path) -> tuple[Store, str]:
    """Open the store; with a full or broken disk one that is lost at the next boot, and say so.

    That one begins with what can be read of the other, and the other takes over what it remembered
    as soon as it can be written again. Where not even that one can be, only this process remembers.
    """
    try:
        store, problem = Store.open(state / STORE)
    except StoreError as error:
        store, until = _elsewhere(runtime / STORE)
        lost = _go_on(store, state / STORE, runtime / COPY)
        volatile = f"{error}; what happens is only remembered until {until}{lost}"
        log.error(volatile)
        return store, volatile
    if problem:
        log.error(problem)
    _take_back(store, runtime / STORE)
    return store, ""


def _elsewhere(file: Path) -> tuple[Store, str]:
    """Return another store, and when what is in it is lost."""
    try:
        return Store.open(file)[0], "the next boot"
    except StoreError:
        return Store.in_memory(), "llmagent ends"


def _rows(unwritable: Path, copy: Path) -> Mapping[str, str]:
    try:
        return stored_rows(unwritable, copy)
    except StoreError:  # no room for a copy
        with Store.read_alone(unwritable) as store:
            return store.load_state()


def _go_on(store: Store, unwritable: Path, copy: Path) -> str:
    """Give the store what is not in it of one that cannot be written; return what to say."""
    if not unwritable.exists():
        return ""
    try:
        rows = _rows(unwritable, copy)
        known = store.load_state()
        store.record({key: text for key, text in rows.items() if key not in known}, ())
    except StoreError as error:
        return f"; what was remembered before is not known: {error}"
    return ""


def _take_back(store: Store, volatile: Path) -> None:
    """Remember for good what was only remembered in memory while the disk was full or read-only."""
    if not volatile.exists():
        return
    try:
        with Store.read_only(volatile) as before:
            events = [stored.event for stored in before.events()]
            store.record(before.load_state(), events)
    except StoreError as error:
        log.warning(f"{error}; what was remembered there is lost")
    for file in journals_of(volatile):
        file.unlink(missing_ok=True)


def load_config(file: Path, recorder: Recorder) -> tuple[Config, tuple[str, ...]]:
    """Return agent.toml, or the last good one and the mistakes; ConfigError without either."""
    try:
        config = agent_toml.load(file)
    except ConfigError as error:
        known = recorder.last_good_config()
        if known is None:
            raise
        return agent_toml.parse(known, f"the last good {file.name}"), error.mistakes
    recorder.keep_config(file)
    return config, ()


@contextmanager
def removal(state: Path) -> Iterator[bool]:
    """Tell whether the package was removed since the last run; forgotten once that is recorded."""
    told = state / REMOVED
    yield told.exists()
    try:
        told.unlink(missing_ok=True)
    except OSError as error:
        log.warning(f"{told} cannot be taken away: {error.strerror}; the next start reads it again")


def reexecute() -> NoReturn:
    """Become a new process of the same program: no library stays mapped, the PID does."""
    sys.stdout.flush()
    sys.stderr.flush()
    # The program that runs already, by its own command line.
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
