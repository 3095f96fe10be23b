# SPDX-License-Identifier: Apache-2.0
"""One connection to systemd: the only place that touches pystemd, and knows its traps.

Measured with pystemd 0.11 and 0.13 on systemd 252 and 257: every call holds the GIL until PID 1
has answered, so calls are few and short and nothing here waits in `bus.wait()`; a callback is kept
as a bare pointer, so it needs a reference of its own; a message handled inside sd-bus looks like
"nothing left"; closing twice frees twice; a failed method call leaks 1.2 KiB.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Sequence
from typing import Final

from agent.errors import AgentError
from agent.host.systemd import pystemd_parts  # noqa: F401  before anything of pystemd

from pystemd.dbusexc import DBusBaseError  # isort: skip
from pystemd.dbuslib import DBus, DBusAddress, apply_signature, path_encode  # isort: skip

MANAGER_PATH: Final = b"/org/freedesktop/systemd1"
MANAGER: Final = b"org.freedesktop.systemd1.Manager"
PROPERTIES: Final = b"org.freedesktop.DBus.Properties"
UNIT: Final = b"org.freedesktop.systemd1.Unit"
SERVICE: Final = b"org.freedesktop.systemd1.Service"

_DESTINATION: Final = b"org.freedesktop.systemd1"
_PRIVATE_SOCKET: Final = b"unix:path=/run/systemd/private"
_LOST: Final = frozenset(
    {errno.ENOTCONN, errno.ECONNRESET, errno.ECONNREFUSED, errno.EPIPE, errno.ESHUTDOWN}
)

Callback = Callable[[Sequence[object]], None]
"""Gets the arguments of a signal; must not raise, as sd-bus could not pass it on."""


class SystemdError(AgentError):
    """Tells that systemd refused a request or could not be reached; `errno` is errno(3)'s."""

    def __init__(self, message: str, number: int) -> None:
        self.errno = number
        super().__init__(message)

    @property
    def connection_lost(self) -> bool:
        """Tells that the connection is gone for good; a new one may work."""
        return self.errno in _LOST


def unit_path(unit: str) -> bytes:
    """Returns the object path of a unit; reading it makes systemd load the unit."""
    path: bytes = path_encode(MANAGER_PATH + b"/unit", unit.encode())
    return path


MOST_MESSAGES: Final = 1000
"""Of one look: 30 ms. systemd tells of ten for a start."""


class Connection:
    """A connection through the system bus or, while that is away, to PID 1's private socket.

    For one thread. It is open once constructed; SystemdError when neither way works. After
    SystemdError with `connection_lost` only `close()` makes sense.
    """

    def __init__(self) -> None:
        self._callbacks: list[Callable[..., None]] = []
        self.is_private = False
        try:
            self._bus = _opened(DBus())
        except DBusBaseError:
            self.is_private = True
            try:
                self._bus = _opened(DBusAddress(_PRIVATE_SOCKET, True))
            except DBusBaseError as failure:
                raise SystemdError(
                    "neither the system bus nor /run/systemd/private answers"
                    f" ({_words(failure)}): is systemd PID 1, and do we run as root?",
                    _number(failure),
                ) from failure
        self._is_closed = False

    def close(self) -> None:
        """Ends the connection; a second call does nothing."""
        if not self._is_closed:
            self._is_closed = True
            self._bus.close()

    def fileno(self) -> int:
        """Returns the descriptor to poll for reading."""
        number = int(self._bus.get_fd())
        if number < 0:
            raise _error("listening to systemd", -number, "the connection is closed")
        return number

    def call(
        self,
        method: str,
        signature: bytes = b"",
        *arguments: object,
        path: bytes = MANAGER_PATH,
        interface: bytes = MANAGER,
    ) -> object:
        """Calls a method and returns its answer; strings in answers are bytes.

        Blocks until PID 1 has answered: 25 s at most, or $SYSTEMD_BUS_TIMEOUT.
        """
        typed = apply_signature(signature, list(arguments)) if signature else []
        try:
            return self._bus.call_method(_DESTINATION, path, interface, method.encode(), typed).body
        except DBusBaseError as failure:
            named = " ".join([method, *(_shown(argument) for argument in arguments)])
            raise _error(named, _number(failure), _words(failure)) from failure

    def get(self, path: bytes, interface: bytes, name: str, signature: bytes) -> object:
        """Returns one property; leaks nothing, and costs the agent 30 us of CPU."""
        try:
            return self._bus.get_property(_DESTINATION, path, interface, name.encode(), signature)
        except DBusBaseError as failure:
            asked = f"reading {name} of {path.decode()}"
            raise _error(asked, _number(failure), _words(failure)) from failure

    def on_signal(self, path: bytes, interface: bytes, member: str, callback: Callback) -> None:
        """Calls back, from within `drain`, for each such signal until the connection ends.

        Any local user may send one to this connection alone (the bus's own match does not see it,
        and libsystemd compares no sender): it may hold anything, and is taken as a hint to look.
        """

        def handle(message: object, error: object, userdata: object) -> None:  # noqa: ARG001
            # What is raised here comes out of pystemd as an error of the connection itself.
            with contextlib.suppress(DBusBaseError, LookupError, TypeError, ValueError):
                message.process_reply(False)  # type: ignore[attr-defined]
                body = message.body  # type: ignore[attr-defined]
                callback(body if isinstance(body, list) else [body])

        self._callbacks.append(handle)
        try:
            self._bus.match_signal(_DESTINATION, path, interface, member.encode(), handle)
        except DBusBaseError as failure:
            raise _error(f"watching {member}", _number(failure), _words(failure)) from failure

    def drain(self) -> bool:
        """Handles every message that has arrived, without waiting for more; tells if that was all.

        At most MOST_MESSAGES: whoever sends faster than they are handled holds nobody up. Of what
        is left the descriptor may say nothing.
        """
        empty_in_a_row = 0
        for _ in range(MOST_MESSAGES):
            if empty_in_a_row == 2:
                return True
            try:
                message = self._bus.process()
            except DBusBaseError as failure:
                raise _error("listening to systemd", _number(failure), _words(failure)) from failure
            empty_in_a_row = empty_in_a_row + 1 if message.is_empty() else 0
        return False


def _opened(bus: DBus) -> DBus:
    """Opens the bus and proves that systemd answers on it: opening alone proves nothing."""
    try:
        bus.open()
        bus.get_property(_DESTINATION, MANAGER_PATH, MANAGER, b"Version", b"s")
    except DBusBaseError:
        bus.close()
        raise
    return bus


def _number(failure: DBusBaseError) -> int:
    return abs(int(failure.errno))


def _words(failure: DBusBaseError) -> str:
    words = failure.err_message
    return words.decode(errors="replace") if isinstance(words, bytes) else str(words)


def _shown(argument: object) -> str:
    return argument.decode(errors="replace") if isinstance(argument, bytes) else str(argument)


def _error(what: str, number: int, words: str) -> SystemdError:
    return SystemdError(f"systemd: {what} failed: {words or errno.errorcode.get(number)}", number)
