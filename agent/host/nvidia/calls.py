# SPDX-License-Identifier: Apache-2.0
"""One NVML call at a time: what its error means, and what need not be asked again.

NVML's error codes: nvml.h, nvmlReturn_t. pynvml is handed in, as it is only imported where there
is a driver: it costs 2.4 MiB.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

from agent.core.plain import plain
from agent.core.record import dataclass
from agent.errors import AgentError


class Code(IntEnum):
    """The errors that are told apart."""

    UNINITIALIZED = 1
    INVALID_ARGUMENT = 2
    NOT_SUPPORTED = 3
    NO_PERMISSION = 4
    DRIVER_NOT_LOADED = 9
    TIMEOUT = 10
    LIBRARY_NOT_FOUND = 12
    FUNCTION_NOT_FOUND = 13
    GPU_IS_LOST = 15
    RESET_REQUIRED = 16
    LIB_RM_VERSION_MISMATCH = 18
    ARGUMENT_VERSION_MISMATCH = 25
    UNKNOWN = 999


LACKING: Final = frozenset(
    {
        Code.INVALID_ARGUMENT,
        Code.NOT_SUPPORTED,
        Code.NO_PERMISSION,
        Code.FUNCTION_NOT_FOUND,
        Code.ARGUMENT_VERSION_MISMATCH,
    }
)
"""The card or its driver does not give this value; nothing but a new driver changes that."""
ENDED: Final = frozenset({Code.UNINITIALIZED, Code.DRIVER_NOT_LOADED, Code.LIB_RM_VERSION_MISMATCH})
"""NVML as a whole works no more in this process."""
NOT_AVAILABLE: Final = frozenset({0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF})
"""NVML_VALUE_NOT_AVAILABLE, which some calls give with success."""


LONGEST_TEXT: Final = 96
"""NVML_DEVICE_UUID_V2_BUFFER_SIZE and NVML_DEVICE_NAME_V2_BUFFER_SIZE, its longest ones."""


class NvmlError(AgentError):
    """Tells in one sentence why NVML does not work; `code` is its number, 0 for none."""

    def __init__(self, sentence: str, code: int = 0) -> None:
        self.code = code
        super().__init__(sentence)


class CardLostError(NvmlError):
    """Tells that a card has fallen off the bus."""


class CardNeedsResetError(NvmlError):
    """Tells that a card gives nothing until it is reset."""


@dataclass(slots=True)
class Doing:
    """What call NVML is in; written by its thread, read by who waits for it."""

    call: str = ""


class CardCalls:
    """The calls on one card; what it lacks is asked for once."""

    def __init__(self, pynvml: Any, handle: Any, index: int, doing: Doing) -> None:
        self._pynvml = pynvml
        self._handle = handle
        self._index = index
        self._doing = doing
        self._lacking: set[tuple[object, ...]] = set()
        self.problem = ""
        """The last error that is no lack, since it was last cleared."""

    def ask(self, name: str, *args: object) -> Any:
        """Return what the function gives, None where the card does not give it now.

        Raises CardLostError, CardNeedsResetError, and NvmlError when NVML as a whole has ended.
        """
        if (name, *args) in self._lacking:
            return None
        code, value = self.outcome(name, *args)
        if code in LACKING:
            self._lacking.add((name, *args))
        return value

    def outcome(self, name: str, *args: object) -> tuple[int, Any]:
        """Return the function's error and None, or 0 and what it gives; raises as `ask` does."""
        function = getattr(self._pynvml, name, None)
        if function is None:
            return Code.FUNCTION_NOT_FOUND, None
        self._doing.call = f"{name} of GPU {self._index}"
        try:
            return 0, function(self._handle, *args)
        except self._pynvml.NVMLError as error:
            self.refused(name, int(error.value))
            return int(error.value), None
        except ValueError as error:  # a text that is no UTF-8
            self.problem = f"{name}: {error}"
            return Code.UNKNOWN, None

    def refused(self, name: str, code: int) -> None:
        """Raise what `code` means for the card or for NVML; note it where it is neither."""
        if code == Code.GPU_IS_LOST:
            raise CardLostError(f"GPU {self._index} has fallen off the bus", code)
        if code == Code.RESET_REQUIRED:
            raise CardNeedsResetError(f"GPU {self._index} must be reset", code)
        if code in ENDED:
            raise NvmlError(f"{name}: {said(self._pynvml, code)}", code)
        if code not in LACKING:
            self.problem = f"{name}: {said(self._pynvml, code)}"

    def first(self, *names: str) -> Any:
        """Return what the first function gives that this driver has; newest name first."""
        for name in names:
            if (value := self.ask(name)) is not None:
                return value
        return None

    def number(self, name: str, *args: object) -> int | None:
        """Return a number, None where the card gives none."""
        return real(self.ask(name, *args))

    def text(self, name: str) -> str | None:
        """Return a text, None where the card gives none."""
        value = word(self.ask(name))
        return value if value not in ("", "N/A") else None

    def flag(self, name: str) -> bool | None:
        """Return whether a mode is on, None where the card has no such mode."""
        value = self.ask(name)
        now = next(iter(value), None) if isinstance(value, list | tuple) else value
        return bool(now) if now is not None else None


def real(value: Any) -> int | None:
    """Return the number, None for NVML's mark of one that is not available, or for none at all."""
    if value is None or value in NOT_AVAILABLE:
        return None
    try:
        return int(value)
    except (OverflowError, TypeError, ValueError):  # infinity, or no number
        return None


def word(value: Any) -> str:
    """Return a text of the driver's as it may be shown to anybody; "" for none."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    return plain(text, LONGEST_TEXT) if isinstance(text, str) else ""


def said(pynvml: Any, code: int) -> str:
    """Return NVML's words for an error."""
    return str(pynvml.NVMLError(code))
