# SPDX-License-Identifier: Apache-2.0
"""A stand-in for nvidia-smi on the simulated NVML: the options that programs use, in its words.

-L; -i GPU; -pl WATTS; -pm 0|1; -lgc MIN,MAX; -rgc; --query-gpu=FIELDS --format=csv[,noheader]
[,nounits]. What is not understood ends with status 2, as there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import pynvml

NOT_AVAILABLE: Final = "[N/A]"
EARLY: Final = "\nTerminating early due to previous errors."
START: Final = {
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
        "Failed to initialize NVML: Driver/library version mismatch"
    ),
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: (
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
        "Make sure that the latest NVIDIA driver is installed and running."
    ),
}
UNITS: Final = {
    **dict.fromkeys(
        (
            *("power.draw", "power.draw.instant", "power.limit", "enforced.power.limit"),
            *("power.default_limit", "power.min_limit", "power.max_limit"),
        ),
        " [W]",
    ),
    **dict.fromkeys(("memory.total", "memory.used", "memory.free", "memory.reserved"), " [MiB]"),
    **dict.fromkeys(("clocks.sm", "clocks.gr", "clocks.mem"), " [MHz]"),
    **dict.fromkeys(("utilization.gpu", "utilization.memory", "fan.speed"), " [%]"),
}


def _limits(handle: Any) -> list[int]:
    return list(pynvml.nvmlDeviceGetPowerManagementLimitConstraints(handle))


def _mib(pick: str) -> Callable[[Any], str]:
    def read(handle: Any) -> str:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle, pynvml.nvmlMemory_v2)
        return f"{getattr(memory, pick) // 2**20} MiB"

    return read


def _watts(read: Callable[[Any], int]) -> Callable[[Any], str]:
    return lambda handle: f"{read(handle) / 1000:.2f} W"


def _clock(domain: int) -> Callable[[Any], str]:
    return lambda handle: f"{pynvml.nvmlDeviceGetClockInfo(handle, domain)} MHz"


def _temperature(handle: Any) -> str:
    return str(pynvml.nvmlDeviceGetTemperatureV(handle, pynvml.NVML_TEMPERATURE_GPU))


def _persistence(handle: Any) -> str:
    return "Enabled" if pynvml.nvmlDeviceGetPersistenceMode(handle) else "Disabled"


def _instant(handle: Any) -> str:
    value = pynvml.nvmlDeviceGetFieldValues(handle, [186])[0]
    if value.nvmlReturn:
        raise pynvml.NVMLError(value.nvmlReturn)
    return f"{value.value.uiVal / 1000:.2f} W"


FIELDS: Final[dict[str, Callable[[Any], str]]] = {
    "index": lambda h: str(pynvml.nvmlDeviceGetIndex(h)),
    "name": pynvml.nvmlDeviceGetName,
    "uuid": pynvml.nvmlDeviceGetUUID,
    "serial": pynvml.nvmlDeviceGetSerial,
    "vbios_version": pynvml.nvmlDeviceGetVbiosVersion,
    "pci.bus_id": lambda h: pynvml.nvmlDeviceGetPciInfo(h).busId,
    "driver_version": lambda _: pynvml.nvmlSystemGetDriverVersion(),
    "temperature.gpu": _temperature,
    "power.draw": _watts(pynvml.nvmlDeviceGetPowerUsage),
    "power.draw.instant": _instant,
    "power.limit": _watts(pynvml.nvmlDeviceGetPowerManagementLimit),
    "enforced.power.limit": _watts(pynvml.nvmlDeviceGetEnforcedPowerLimit),
    "power.default_limit": _watts(pynvml.nvmlDeviceGetPowerManagementDefaultLimit),
    "power.min_limit": _watts(lambda h: _limits(h)[0]),
    "power.max_limit": _watts(lambda h: _limits(h)[1]),
    "utilization.gpu": lambda h: f"{pynvml.nvmlDeviceGetUtilizationRates(h).gpu} %",
    "utilization.memory": lambda h: f"{pynvml.nvmlDeviceGetUtilizationRates(h).memory} %",
    "memory.total": _mib("total"),
    "memory.used": _mib("used"),
    "memory.free": _mib("free"),
    "memory.reserved": _mib("reserved"),
    "clocks.sm": _clock(pynvml.NVML_CLOCK_SM),
    "clocks.gr": _clock(pynvml.NVML_CLOCK_GRAPHICS),
    "clocks.mem": _clock(pynvml.NVML_CLOCK_MEM),
    "clocks_event_reasons.active": lambda h: (
        f"0x{pynvml.nvmlDeviceGetCurrentClocksEventReasons(h):016X}"
    ),
    "pstate": lambda h: f"P{pynvml.nvmlDeviceGetPerformanceState(h)}",
    "fan.speed": lambda h: f"{pynvml.nvmlDeviceGetFanSpeed(h)} %",
    "persistence_mode": _persistence,
    "compute_cap": lambda h: ".".join(map(str, pynvml.nvmlDeviceGetCudaComputeCapability(h))),
}


class Refused(Exception):  # noqa: N818 - it ends the program with these words
    """Ends the program; `status` is its exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def devices(wanted: str) -> list[Any]:
    """Returns the handles that `-i` names: all of them, or by index, UUID or PCI bus id."""
    count = pynvml.nvmlDeviceGetCount()
    if not wanted:
        return [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
    try:
        return [_device(word.strip()) for word in wanted.split(",")]
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_GPU_IS_LOST:
            raise
        raise Refused("No devices were found", 6) from None


def _device(word: str) -> Any:
    if word.isdigit():
        return pynvml.nvmlDeviceGetHandleByIndex(int(word))
    if word.startswith("GPU-"):
        return pynvml.nvmlDeviceGetHandleByUUID(word)
    return pynvml.nvmlDeviceGetHandleByPciBusId(word)


def bus(handle: Any) -> str:
    """Returns the PCI address by which nvidia-smi calls a card."""
    return str(pynvml.nvmlDeviceGetPciInfo(handle).busId)


def lines_of_list(handles: list[Any]) -> list[str]:
    """Returns what -L prints."""
    return [
        f"GPU {pynvml.nvmlDeviceGetIndex(h)}: {pynvml.nvmlDeviceGetName(h)}"
        f" (UUID: {pynvml.nvmlDeviceGetUUID(h)})"
        for h in handles
    ]


def set_power_limit(handle: Any, watts: float) -> str:
    """Returns what -pl says of one card; Refused in nvidia-smi's words."""
    where = f"GPU {bus(handle)}"
    try:
        before = pynvml.nvmlDeviceGetPowerManagementLimit(handle)
        pynvml.nvmlDeviceSetPowerManagementLimit(handle, round(watts * 1000))
    except pynvml.NVMLError as error:
        match error.value:
            case pynvml.NVML_ERROR_NOT_SUPPORTED:
                text = "Changing power management limit is not supported in current scope for"
                return f"{text} GPU: {bus(handle)}.\nTreating as warning and moving on."
            case pynvml.NVML_ERROR_INVALID_ARGUMENT:
                low, high = (limit / 1000 for limit in _limits(handle))
                text = f"Provided power limit {watts:.2f} W is not a valid power limit which"
                text += f" should be between {low:.2f} W and {high:.2f} W for {where}"
            case _:
                text = f"Failed to set power management limit for {where}: {error}"
        raise Refused(text + EARLY, error.value & 0xFF) from None
    return f"Power limit for {where} was set to {watts:.2f} W from {before / 1000:.2f} W."


def set_persistence(handle: Any, mode: int) -> str:
    """Returns what -pm says of one card."""
    before = pynvml.nvmlDeviceGetPersistenceMode(handle)
    words = ("Disabled", "Enabled")
    try:
        pynvml.nvmlDeviceSetPersistenceMode(handle, mode)
    except pynvml.NVMLError as error:
        text = f"Unable to set persistence mode for GPU {bus(handle)}: {error}"
        raise Refused(text + EARLY, error.value & 0xFF) from None
    if before == mode:
        return f"Persistence mode is already {words[mode]} for GPU {bus(handle)}."
    return f"{words[mode]} persistence mode for GPU {bus(handle)}."


def lock_clocks(handle: Any, limits: str) -> str:
    """Returns what -lgc says of one card."""
    low, _, high = limits.partition(",")
    _change_clocks(handle, pynvml.nvmlDeviceSetGpuLockedClocks, int(low), int(high or low))
    locked = f"(gpuClkMin {low}, gpuClkMax {high or low})"
    return f'GPU clocks set to "{locked}" for GPU {bus(handle)}'


def unlock_clocks(handle: Any) -> str:
    """Returns what -rgc says of one card."""
    _change_clocks(handle, pynvml.nvmlDeviceResetGpuLockedClocks)
    return f"Reset GPU clocks for GPU {bus(handle)}"


def _change_clocks(handle: Any, call: Callable[..., None], *limits: int) -> None:
    try:
        call(handle, *limits)
    except pynvml.NVMLError as error:
        text = f"Setting locked GPU clocks failed for GPU {bus(handle)}: {error}"
        if error.value == pynvml.NVML_ERROR_NO_PERMISSION:
            text = "The current user does not have permission to change clocks for"
            text += f" GPU {bus(handle)}."
        raise Refused(text + EARLY, error.value & 0xFF) from None


def query(handles: list[Any], fields: str, form: str) -> Iterator[str]:
    """Yields the lines of --query-gpu."""
    names = [name.strip() for name in fields.split(",")]
    for name in names:
        if name not in FIELDS:
            raise Refused(f'Field "{name}" is not a valid field to query.\n', 2)
    options = form.split(",")
    if "csv" not in options:
        raise Refused("--format=csv is required with --query-gpu", 2)
    bare = "nounits" in options
    if "noheader" not in options:
        yield ", ".join(name if bare else f"{name}{UNITS.get(name, '')}" for name in names)
    for handle in handles:
        yield ", ".join(_field(handle, name, bare=bare) for name in names)


def _field(handle: Any, name: str, *, bare: bool) -> str:
    try:
        value = FIELDS[name](handle)
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_GPU_IS_LOST:
            return "[GPU is lost]"
        return NOT_AVAILABLE
    return value.removesuffix(UNITS.get(name, "").strip(" []")).strip() if bare else value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nvidia-smi", description=__doc__)
    parser.add_argument("-L", "--list-gpus", action="store_true")
    parser.add_argument("-i", "--id", default="")
    parser.add_argument("-pl", "--power-limit", type=float)
    parser.add_argument("-pm", "--persistence-mode", type=int, choices=(0, 1))
    parser.add_argument("-lgc", "--lock-gpu-clocks")
    parser.add_argument("-rgc", "--reset-gpu-clocks", action="store_true")
    parser.add_argument("--query-gpu")
    parser.add_argument("--format", default="")
    return parser


def told(args: argparse.Namespace) -> Iterator[str]:
    """Yields what the program prints; it does what it is asked on the way."""
    handles = devices(args.id)
    if args.query_gpu:
        yield from query(handles, args.query_gpu, args.format)
        return
    if args.list_gpus:
        yield from lines_of_list(handles)
        return
    for handle in handles:
        if args.power_limit is not None:
            yield set_power_limit(handle, args.power_limit)
        if args.persistence_mode is not None:
            yield set_persistence(handle, args.persistence_mode)
        if args.lock_gpu_clocks:
            yield lock_clocks(handle, args.lock_gpu_clocks)
        if args.reset_gpu_clocks:
            yield unlock_clocks(handle)
    yield "All done."


def main(argv: list[str]) -> int:
    """Runs the program; returns its exit status."""
    args = _parser().parse_args(argv)
    try:
        pynvml.nvmlInit()
        for line in told(args):
            print(line)
    except Refused as refusal:
        print(refusal)
        return refusal.status
    except pynvml.NVMLError as error:
        print(START.get(error.value, f"Failed to initialize NVML: {error}"))
        return int(error.value & 0xFF)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
