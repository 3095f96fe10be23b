# SPDX-License-Identifier: Apache-2.0
"""Tells which units changed, so that their state is read again."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Sequence
from typing import Final

from agent.host.systemd.connection import (
    MANAGER,
    MANAGER_PATH,
    PROPERTIES,
    Connection,
    SystemdError,
    unit_path,
)

_JOB_SIGNALS: Final = ("JobNew", "JobRemoved")


class UnitWatch:
    """Listens to systemd for changes of some units; level-triggered, so nothing is lost.

    For one thread, except `wake` and `set_units`. UnitNew and UnitRemoved are not listened to: a
    unit without a file is loaded by each reading and dropped right after, so a reader that reads
    on each change would wake itself for ever.
    """

    def __init__(self, units: Sequence[str]) -> None:
        self._wanted = tuple(units)
        self._watched: tuple[str, ...] = ()
        self._changed: set[str] = set()
        self._connection: Connection | None = None
        self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def set_units(self, units: Sequence[str]) -> None:
        """Watches these from now on; `wait` returns them all if they differ. From any thread."""
        self._wanted = tuple(units)
        self.wake()

    def wake(self) -> None:
        """Makes `wait` return within a millisecond. From any thread."""
        os.eventfd_write(self._waker, 1)

    def close(self) -> None:
        """Stops listening; no method may be called after it."""
        self._disconnect()
        os.close(self._waker)

    def wait(self, timeout_seconds: float) -> frozenset[str]:
        """Returns the units that changed since the last call, once there is one.

        All units after the first or a new connection and after a daemon-reload; empty when the
        time is over or `wake` was called. Raises SystemdError at once when systemd cannot be
        reached: pause, then call again.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            connection = self._connected()
            try:
                was_all = connection.drain()
                if self._changed:
                    changed = frozenset(self._changed)
                    self._changed.clear()
                    return changed
                left = deadline - time.monotonic()
                if left <= 0 or self._sleep(connection, left if was_all else 0.0):
                    return frozenset()
            except SystemdError as failure:
                self._disconnect()
                if not failure.connection_lost:
                    raise

    def _sleep(self, connection: Connection, seconds: float) -> bool:
        """Sleeps until a message comes; tells whether `wake` ended it and nothing else is new."""
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        poll.register(self._waker, select.POLLIN)
        if self._waker not in (ready for ready, _ in poll.poll(seconds * 1000)):
            return False
        os.eventfd_read(self._waker)
        return self._wanted == self._watched

    def _connected(self) -> Connection:
        if self._connection is not None and self._watched == self._wanted:
            return self._connection
        # A match cannot be removed again with pystemd, so other units get a new connection.
        self._disconnect()
        connection = Connection()
        try:
            self._listen(connection, self._wanted)
        except SystemdError:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _listen(self, connection: Connection, units: tuple[str, ...]) -> None:
        names = {unit.encode(): unit for unit in units}

        def job_changed(body: Sequence[object]) -> None:
            unit = body[2]
            if isinstance(unit, bytes) and unit in names:
                self._changed.add(names[unit])

        def reloading(_body: Sequence[object]) -> None:
            self._changed.update(units)

        for signal in _JOB_SIGNALS:
            connection.on_signal(MANAGER_PATH, MANAGER, signal, job_changed)
        connection.on_signal(MANAGER_PATH, MANAGER, "Reloading", reloading)
        for unit in units:
            self._listen_to_unit(connection, unit)
        connection.call("Subscribe")
        self._watched = units
        self._changed.update(units)

    def _listen_to_unit(self, connection: Connection, unit: str) -> None:
        def properties_changed(_body: Sequence[object]) -> None:
            self._changed.add(unit)

        connection.on_signal(unit_path(unit), PROPERTIES, "PropertiesChanged", properties_changed)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._changed.clear()
