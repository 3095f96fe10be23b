# SPDX-License-Identifier: Apache-2.0
"""Simulated GPUs as tests use them: beside a unit test, or as the driver of a machine."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from tests.rig import paths
from tests.rig.container import Container
from tests.rig.nvml.driver import LIBRARY, DriverFiles
from tests.rig.nvml.state_file import StateFile, Value, uuid_of

__all__ = ["Call", "HostGpus", "MachineGpus", "part", "uuid_of"]

IN_MACHINE: Final = "/opt/nvsim"
SHOW_TO_AGENT: Final = "/etc/systemd/system/llmagent.service.d/nvsim.conf"


@cache
def part() -> Path:
    """Returns the built simulation; a changed one is built in a second."""
    subprocess.run([paths.SETUP, "nvml"], check=True, capture_output=True, text=True)
    return paths.part("nvml")


@dataclass(frozen=True, slots=True)
class Call:
    """One NVML call: when (seconds), by whom, on which card (None: on none), and its outcome."""

    at: float
    pid: int
    function: str
    gpu: int | None
    code: int


def calls_in(log: str) -> list[Call]:
    """Returns the calls of a log of the library."""
    rows = [line.split() for line in log.splitlines()]
    return [
        Call(float(at), int(pid), name, None if gpu == "-" else int(gpu), int(code))
        for at, pid, name, gpu, code in rows
    ]


class HostGpus:
    """Simulated GPUs in a directory, for programs that get `environment`."""

    def __init__(self, directory: Path) -> None:
        self.state = StateFile(directory / "nvsim" / "state")
        self.files = DriverFiles(directory / "root", part() / "nvsim" / LIBRARY)
        self.log = directory / "nvml-calls.log"

    @property
    def environment(self) -> dict[str, str]:
        """The variables under which a program loads the simulated library and sees these cards."""
        return os.environ | {
            "LD_LIBRARY_PATH": str(self.files.library.parent),
            "NVSIM_STATE": str(self.state.path),
            "NVSIM_LOG": str(self.log),
        }

    def set(self, gpu: int | None, **values: Value) -> None:
        """Sets values of a card, or of [system] for None; a value None takes the key away."""
        self.state.set(gpu, values)

    def calls(self) -> list[Call]:
        """Returns all calls that were made, oldest first."""
        return calls_in(self.log.read_text()) if self.log.exists() else []

    def counts(self, gpu: int | None = None) -> Counter[str]:
        """Returns how often each function was called on one card, or on none."""
        return Counter(call.function for call in self.calls() if call.gpu == gpu)

    def forget_calls(self) -> None:
        """Begins the log anew."""
        self.log.unlink(missing_ok=True)

    def nvidia_smi(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Runs the simulated nvidia-smi."""
        return subprocess.run(
            ["/usr/bin/python3", "-m", "nvsim.nvidia_smi", *argv],
            check=False,
            capture_output=True,
            text=True,
            env=self.environment | {"PYTHONPATH": f"{part()}:{part() / 'lib'}"},
            timeout=30,
        )


class MachineGpus:
    """Simulated GPUs in a machine that was booted with binds.simulated_gpus()."""

    def __init__(self, box: Container) -> None:
        """Makes a /proc/driver to write into, as nobody can write into the real one.

        The agent's sandbox has a /proc of its own: make this before the agent starts.
        """
        self.box = box
        if box.run(["mountpoint", "-q", "/proc/driver"], check=False).returncode != 0:
            box.run(["mount", "-t", "tmpfs", "tmpfs", "/proc/driver"])
        box.write(SHOW_TO_AGENT, "[Service]\nBindReadOnlyPaths=/proc/driver\n")
        box.run(["systemctl", "daemon-reload"])

    def install(self, *cards: str) -> None:
        """Installs cards, driver and nvidia-smi."""
        for program in ("nvsim", "nvidia-smi"):
            self.box.run(["ln", "-sf", f"{IN_MACHINE}/bin/{program}", f"/usr/bin/{program}"])
        self.run("create", *cards)
        self.run("driver-install")

    def run(self, *argv: str, timeout: float = 60) -> str:
        """Runs `nvsim` and returns what it printed; its commands are those of nvml/control.py."""
        return self.box.run(["nvsim", *argv], timeout=timeout).stdout.strip()

    def set(self, gpu: int | None, **values: Value) -> None:
        """Sets values of a card, or of [system] for None; a value None takes the key away."""
        for verb, words in (
            (
                "set",
                [f"{_at(gpu, key)}={value}" for key, value in values.items() if value is not None],
            ),
            ("del", [_at(gpu, key) for key, value in values.items() if value is None]),
        ):
            if words:
                self.run(verb, *words)

    def get(self, gpu: int | None, key: str) -> str:
        """Returns a value, "" where it is absent."""
        return self.run("get", _at(gpu, key))


def _at(gpu: int | None, key: str) -> str:
    return key if gpu is None else f"{gpu}.{key}"
