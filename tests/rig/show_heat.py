# SPDX-License-Identifier: Apache-2.0
"""The heat wave of `make demo`: a simulated RTX 4090 at full load in a room that becomes hot.

The card's physics run in the machine: its temperature follows from its power and the room's, its
clocks and NVML's reasons from its temperature. The agent sees NVML and sets nvidia-smi, no more.
"""

from __future__ import annotations

from tests.rig.container import Container
from tests.rig.nvsim import MachineGpus

AGENT_TOML = """
[power]
limit_watts = 400
persistence_mode = true

[thermal]
action = "lower_power"
warning_celsius = 83
critical_celsius = 95             # before, the hardware itself slows it down, at 85
step_watts = 150
after_seconds = 1                 # a demo has little time: 10, 120 and 1800 are the defaults
cool_seconds = 5
retry_seconds = 15
"""
QUERY = "name,temperature.gpu,power.draw,power.limit,power.default_limit,clocks.sm"
ROOM_CELSIUS = 25
HOT_ROOM_CELSIUS = 57
"""At 400 W the card would reach 97 C, at 250 W 82 C; from 85 C on its hardware slows it down."""

SPEED = 1.5
"""So many seconds of the card's physics in one."""


def works_hard(gpus: MachineGpus) -> None:
    """Puts the card under full load, as warm as it is in a cool room by then."""
    gpus.set(0, load=1, ambient=ROOM_CELSIUS, slowdown=85, temperature=65)
    physics = ["nvsim", "physics", "--speed", str(SPEED)]
    gpus.box.run(["systemd-run", "--quiet", "--unit=physics", *physics])


def room(gpus: MachineGpus, celsius: int) -> None:
    """Changes the temperature of the room."""
    gpus.set(0, ambient=celsius)


def nvidia_smi(box: Container) -> str:
    """Returns what nvidia-smi says of the card: command and answer."""
    argv = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv"]
    return f"{' '.join(argv)}\n{box.run(argv).stdout}"


def status_of_gpus(box: Container) -> str:
    """Returns the lines of `llmagent status` that are about driver and GPUs."""
    kept, inside = [], False
    for line in box.run(["llmagent", "status"]).stdout.splitlines():
        if not line.startswith(" "):
            inside = line.startswith(("driver ", "GPU "))
        if inside:
            kept.append(line)
    return "\n".join(kept)
