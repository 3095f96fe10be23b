# SPDX-License-Identifier: Apache-2.0
"""Changes settings of a GPU with nvidia-smi, in a unit of its own.

The driver asks for CAP_SYS_ADMIN (NV_IS_SUSER in NVIDIA's open kernel modules), which the agent
does not have and shall not have: systemd runs nvidia-smi for it in a transient unit that has this
capability and little else, and kills it with all its children when it is not done in time. The unit
has one fixed name, so that an nvidia-smi that not even SIGKILL ends is never joined by a second.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from enum import Enum, auto

from agent.core.record import dataclass
from agent.host.systemd.transient import as_transient_unit

SEARCHED = "/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin:/usr/local/sbin:/opt/bin"

DEADLINE_SECONDS = 20
"""A call takes 10 to 20 ms with persistence mode, without it up to 30 s on a host with 8 GPUs (a
start of the driver for each); the agent itself keeps the driver started."""

UNIT = "llmagent-nvidia-smi.service"

_PROPERTIES = {
    "TimeoutStopSec": "2",
    "CapabilityBoundingSet": "CAP_SYS_ADMIN",
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateNetwork": "yes",
    "RestrictAddressFamilies": "AF_UNIX",
    "RestrictNamespaces": "yes",
    "ProtectControlGroups": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectClock": "yes",
    "MemoryDenyWriteExecute": "yes",
    "SystemCallArchitectures": "native",
}
"""systemd 252 and 257 know each of them."""


def launcher(deadline_seconds: float = DEADLINE_SECONDS) -> tuple[str, ...]:
    """Return what stands before nvidia-smi and its options, so that systemd runs it."""
    return as_transient_unit(
        {"RuntimeMaxSec": f"{deadline_seconds:g}", **_PROPERTIES},
        f"--unit={UNIT}",
        "--description=nvidia-smi, run by llmagent",
    )


class SmiEnd(Enum):
    """How nvidia-smi ended."""

    DONE = auto()
    NOT_SUPPORTED = auto()
    NOT_PERMITTED = auto()
    NO_TOOL = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class SmiResult:
    """How it ended, and what it said about it, on one line."""

    end: SmiEnd
    said: str = ""


_STATUS = {3: SmiEnd.NOT_SUPPORTED, 4: SmiEnd.NOT_PERMITTED, 13: SmiEnd.NOT_SUPPORTED}
"""nvidia-smi(1), "RETURN VALUE"."""

_WORDS = (
    ("not supported", SmiEnd.NOT_SUPPORTED),
    ("insufficient permissions", SmiEnd.NOT_PERMITTED),
    ("not have permission", SmiEnd.NOT_PERMITTED),
)
"""What it says, also with status 0: a card without a power limit is "treated as warning"."""


def find_nvidia_smi() -> str | None:
    """Return the absolute path of nvidia-smi, None where the host has none."""
    return shutil.which("nvidia-smi", path=SEARCHED)


def set_power_limit(uuid: str, watts: float) -> tuple[str, ...]:
    """Return the options that set one card's power limit."""
    return ("-i", uuid, "-pl", f"{watts:g}")


def lock_clocks(uuid: str, low_mhz: int, high_mhz: int) -> tuple[str, ...]:
    """Return the options that hold one card's clocks in a range."""
    return ("-i", uuid, "-lgc", f"{low_mhz},{high_mhz}")


def unlock_clocks(uuid: str) -> tuple[str, ...]:
    """Return the options that let go of one card's clocks."""
    return ("-i", uuid, "-rgc")


def persistence_mode_on(uuid: str) -> tuple[str, ...]:
    """Return the options that turn one card's persistence mode on."""
    return ("-i", uuid, "-pm", "1")


def run(
    program: str | None,
    options: Sequence[str],
    before: Sequence[str],
    deadline_seconds: float = DEADLINE_SECONDS + 5,
) -> SmiResult:
    """Run nvidia-smi once, behind the words of `before`; raises nothing.

    It returns after `deadline_seconds` at the latest, also when nothing can end nvidia-smi.
    """
    if program is None:
        return SmiResult(SmiEnd.NO_TOOL)
    argv = [*before, program, *options]
    try:
        ended = subprocess.run(
            argv,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=deadline_seconds,
        )
    except subprocess.TimeoutExpired:
        return SmiResult(SmiEnd.FAILED, f"nvidia-smi was not done after {deadline_seconds:g} s")
    except OSError as error:
        return SmiResult(SmiEnd.FAILED, f"{argv[0]} cannot be run: {error.strerror}")
    return _judged(ended.returncode, ended.stdout)


def _judged(status: int, output: str) -> SmiResult:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    said = lines[0] if lines else f"exit status {status}"
    words = output.lower()
    for word, end in _WORDS:
        if word in words:
            return SmiResult(end, said)
    if status == 0:
        return SmiResult(SmiEnd.DONE, said)
    if status < 0 or not lines:
        said = f"nvidia-smi was ended without a word (status {status}): it hung or crashed"
    return SmiResult(_STATUS.get(status, SmiEnd.FAILED), said)
