# SPDX-License-Identifier: Apache-2.0
"""Xids as NVML's events, which come without the kernel log; nothing from before the registration.

They are asked for without waiting, at each look: nvmlEventSetWait_v2 with 0 ms answers TIMEOUT when
there is nothing. A card that has no such events (GB10) is left out. Any other error ends the set
until the cards are listed anew; the kernel log is the fuller record in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from agent.core.record import dataclass
from agent.host.nvidia.calls import Code, word

XID_CRITICAL_ERROR: Final = 0x8
"""nvmlEventTypeXidCriticalError of nvml.h."""
MOST_A_LOOK: Final = 64
"""A storm of them is one incident; the rest waits for the next look."""

Call = Callable[..., tuple[int, Any]]
"""Calls a function of NVML by name; returns its error and None, or 0 and what it gives."""


@dataclass(frozen=True, slots=True)
class XidEvent:
    """One error that NVML told of."""

    uuid: str
    code: int


class XidEvents:
    """The set of events of all cards, from `begin` to `end`."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._set: Any = None
        self._watches = False
        self._uuids: dict[int, str] = {}

    def begin(self) -> None:
        """Watch nothing as yet."""
        self.end()
        self._watches = False
        self._uuids = {}
        self._set = self._call("nvmlEventSetCreate")[1]

    def watch(self, handle: Any, uuid: str) -> None:
        """Have a card's Xids told, if it has such events.

        The card of an event is known by its handle, as one that has fallen off the bus, which is
        what Xid 79 says, no longer tells its UUID.
        """
        if self._set is None:
            return
        self._uuids[_address(handle)] = uuid
        supported = self._call("nvmlDeviceGetSupportedEventTypes", handle)[1] or 0
        if supported & XID_CRITICAL_ERROR:
            asked = "nvmlDeviceRegisterEvents", handle, XID_CRITICAL_ERROR, self._set
            self._watches |= self._call(*asked)[0] == 0

    def read(self) -> tuple[XidEvent, ...]:
        """Return what happened since the last time; never waits."""
        return tuple(self._read()) if self._watches and self._set is not None else ()

    def end(self) -> None:
        """Give the set back; NVML must still be open."""
        if self._set is not None:
            self._call("nvmlEventSetFree", self._set)
            self._set = None

    def _read(self) -> Iterator[XidEvent]:
        for _ in range(MOST_A_LOOK):
            code, event = self._call("nvmlEventSetWait_v2", self._set, 0)
            if code == Code.TIMEOUT:
                return
            if code:
                self.end()
                return
            uuid = self._uuids.get(_address(event.device))
            uuid = uuid or self._call("nvmlDeviceGetUUID", event.device)[1]
            if uuid and event.eventType & XID_CRITICAL_ERROR:
                yield XidEvent(word(uuid), int(event.eventData))


def _address(handle: Any) -> int:
    """Return what identifies a card's handle: a pointer, the same one for all of NVML's life."""
    import ctypes

    return ctypes.cast(handle, ctypes.c_void_p).value or 0
