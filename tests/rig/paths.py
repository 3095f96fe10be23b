# SPDX-License-Identifier: Apache-2.0
"""Where the parts of the rig are; `tests/rig/setup` makes them and alone knows their names."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import Final, Literal

REPO: Final = Path(__file__).resolve().parents[2]
RIG: Final = REPO / "tests/rig"
SETUP: Final = RIG / "setup"

Part = Literal[
    "bookworm",
    "trixie",
    "vllm",
    "vllm-033",
    "models",
    "kinds",
    "nvml",
    "peers",
    "ray",
    "podman",
    "podman-trixie",
    "docker",
    "docker-trixie",
    "arm64",
    "upgrades-bookworm",
    "upgrades-trixie",
    "ansible",
]


class NotSetUpError(RuntimeError):
    """Tells that a part of the rig has not been made on this machine."""


@cache
def part(name: Part) -> Path:
    """Returns the directory of one part; NotSetUpError names the command that makes it."""
    answer = subprocess.run([SETUP, "--path", name], check=True, capture_output=True, text=True)
    path = Path(answer.stdout.strip())
    if not path.is_dir():
        raise NotSetUpError(f"{path} does not exist; run: tests/rig/setup {name}")
    return path
