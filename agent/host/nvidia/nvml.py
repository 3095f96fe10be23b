# SPDX-License-Identifier: Apache-2.0
"""NVML through pynvml (nvidia-ml-py): all GPUs of the host, read with as few calls as it takes.

One thread uses an Nvml. Any call may hang for ever when a driver is stuck; `doing` tells the one
who waits which call it is. pynvml never lets go of the library that it has loaded.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from agent.core.gpu.reading import Gpu
from agent.core.record import dataclass
from agent.host.nvidia.calls import (
    ENDED,
    CardCalls,
    CardLostError,
    CardNeedsResetError,
    Code,
    Doing,
    NvmlError,
    real,
    said,
    word,
)
from agent.host.nvidia.card import NvmlCard
from agent.host.nvidia.elf import cut_off
from agent.host.nvidia.events import XidEvent, XidEvents

SENTENCES: Final = {
    Code.LIBRARY_NOT_FOUND: (
        "libnvidia-ml.so.1 is not on this host: install the NVIDIA driver's NVML library"
        " (libnvidia-ml1, or NVIDIA's installer)"
    ),
    Code.DRIVER_NOT_LOADED: (
        "the NVIDIA kernel module is not loaded: `modprobe nvidia` or `journalctl -k` says why"
    ),
    Code.LIB_RM_VERSION_MISMATCH: (
        "the driver on disk is another version than the kernel module that is loaded:"
        " reboot the host"
    ),
}


MOST_CARDS: Final = 256
"""The biggest hosts have 16; each one of a greater number would be asked for."""

LIBRARY: Final = "libnvidia-ml.so.1"
REINSTALL: Final = (
    "reinstall the driver's libraries; `ldconfig -p | grep nvidia-ml` shows which is found"
)


@dataclass(frozen=True, slots=True)
class NvmlLook:
    """What one look gave; `xids` since the last, `nameless` as in Gpus, the rest as in Driver."""

    gpus: tuple[Gpu, ...]
    nameless: tuple[int, ...]
    cuda_version: str
    xids: tuple[XidEvent, ...] = ()


class Nvml:
    """All cards, from `open` to `close`; what a card lacks is asked for once in between."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self.doing = Doing()
        self._proc = proc
        self._pynvml: Any = None
        self._open = False
        self._cards: list[NvmlCard] = []
        self._count = 0
        self._known: dict[str, Gpu] = {}
        self._unreachable: tuple[int, ...] = ()
        self._cuda_version = ""
        self._events = XidEvents(self._outcome)

    def open(self, library: Path | None = None) -> None:
        """Begin anew; raises NvmlError. `library` is the file that the loader is going to find."""
        self.close()
        if library is not None and (lack := cut_off(library)):
            raise NvmlError(f"{lack}: {REINSTALL}", Code.LIBRARY_NOT_FOUND)
        self.doing.call = "nvmlInit"
        try:
            self._pynvml = importlib.import_module("pynvml")
        except ImportError as error:
            raise NvmlError(
                f"the module pynvml is missing ({error}): reinstall llmagent"
            ) from error
        self._host_call("nvmlInit")
        self._open = True
        self._list()

    def close(self) -> None:
        """Let go of the cards; others may then reset them."""
        self._cards, self._unreachable = [], ()
        if self._open:
            self._open = False
            self._events.end()
            self.doing.call = "nvmlShutdown"
            # What fails here has ended already.
            self._outcome("nvmlShutdown")

    def look(self, *, medium: bool, slow: bool, processes: bool) -> NvmlLook:
        """Read all cards; raises NvmlError when NVML as a whole works no more.

        `medium` and `slow` say which rings are due; `processes` asks for them in any case.
        """
        if slow and self._counted() != self._count:
            self._list()
        gpus = [_look(card, medium=medium, slow=slow, processes=processes) for card in self._cards]
        _raise_if_none_answers(gpus)
        self._known |= {gpu.uuid: gpu for gpu in gpus}
        lost, nameless = self._lost()
        every = sorted((*gpus, *lost), key=lambda gpu: gpu.index)
        return NvmlLook(tuple(every), nameless, self._cuda_version, self._events.read())

    def _list(self) -> None:
        """Find all cards that there are, and read what does not change."""
        self._events.begin()
        driver = word(self._host_call("nvmlSystemGetDriverVersion"))
        number = real(self._outcome("nvmlSystemGetCudaDriverVersion_v2")[1])
        self._cuda_version = f"{number // 1000}.{number % 1000 // 10}" if number else ""
        self._count = self._counted()
        found = {index: self._card(index, driver) for index in range(self._count)}
        self._cards = [card for card in found.values() if card is not None]
        self._unreachable = tuple(index for index, card in found.items() if card is None)

    def _counted(self) -> int:
        count = int(self._host_call("nvmlDeviceGetCount"))
        if not 0 <= count <= MOST_CARDS:
            raise NvmlError(f"NVML counts {count} GPUs: its word cannot be relied on", Code.UNKNOWN)
        return count

    def _card(self, index: int, driver: str) -> NvmlCard | None:
        code, handle = self._outcome("nvmlDeviceGetHandleByIndex", index)
        if code in ENDED:
            raise self._error("nvmlDeviceGetHandleByIndex", code)
        if code:
            return None
        calls = CardCalls(self._pynvml, handle, index, self.doing)
        try:
            card = NvmlCard(calls, index, driver, self._proc)
            card.identify()
        except (CardLostError, CardNeedsResetError):
            return None
        if not card.last.uuid:
            return None
        self._events.watch(handle, card.last.uuid)
        return card

    def _lost(self) -> tuple[list[Gpu], tuple[int, ...]]:
        """Return the cards that NVML counts and cannot reach: as last known, or by index only."""
        here = {card.last.uuid for card in self._cards}
        gone = {gpu.index: gpu for uuid, gpu in self._known.items() if uuid not in here}
        lost = [
            replace(gone[index], lost=True, problem=f"NVML cannot reach GPU {index}")
            for index in self._unreachable
            if index in gone
        ]
        return lost, tuple(index for index in self._unreachable if index not in gone)

    def _host_call(self, name: str, *args: object) -> Any:
        code, value = self._outcome(name, *args)
        if code:
            raise self._error(name, code)
        return value

    def _outcome(self, name: str, *args: object) -> tuple[int, Any]:
        """Return the error and None, or 0 and what the function gives."""
        function = getattr(self._pynvml, name, None)
        if function is None:
            return Code.FUNCTION_NOT_FOUND, None
        self.doing.call = name
        try:
            return 0, function(*args)
        except self._pynvml.NVMLError as error:
            return int(error.value), None
        except ValueError:  # a text that is no UTF-8
            return Code.UNKNOWN, None

    def _error(self, name: str, code: int) -> NvmlError:
        sentence = SENTENCES.get(Code(code)) if code in list(Code) else None
        if code == Code.LIBRARY_NOT_FOUND and (why := why_not_loaded()):
            sentence = f"{LIBRARY} is there and does not load: {why}: {REINSTALL}"
        return NvmlError(sentence or f"{name}: {said(self._pynvml, code)}", code)


def why_not_loaded() -> str:
    """Return dlopen's own words for a library that is there and does not load, "" for none there.

    pynvml has one code for all of its errors. An interrupted upgrade leaves such libraries: cut
    off, of another architecture, or with symbols of another release.
    """
    import ctypes

    try:
        ctypes.CDLL(LIBRARY)
    except OSError as error:
        said = " ".join(str(error).split())[:300]
        return "" if "cannot open shared object file: No such file" in said else said
    return ""


def _look(card: NvmlCard, *, medium: bool, slow: bool, processes: bool) -> Gpu:
    try:
        return card.look(medium=medium, slow=slow, processes=processes)
    except CardLostError as error:
        return card.lost(str(error))
    except CardNeedsResetError as error:
        return card.needs_reset(str(error))


def _raise_if_none_answers(gpus: list[Gpu]) -> None:
    """Raise NvmlError when no card that is there gave anything but errors: NVML is to begin anew.

    So it is after a daemon-reload that took a unit's devices away: every call is then UNKNOWN.
    """
    there = [gpu for gpu in gpus if not gpu.lost and not gpu.reset_required]
    if there and all(gpu.problem and gpu.temperature_celsius is None for gpu in there):
        raise NvmlError(f"no GPU answers: {there[0].problem}", Code.UNKNOWN)
