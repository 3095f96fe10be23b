# SPDX-License-Identifier: Apache-2.0
"""Where the files are that the daemon reads and writes."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path

from agent.core.record import dataclass
from agent.host.nvidia.driver_files import DriverPlaces
from agent.places import RUNTIME_DIRECTORY, STATE_DIRECTORY, UNIT_DIRECTORY


@dataclass(frozen=True, slots=True)
class Places:
    """Where the daemon's files are; the defaults are the package's."""

    config: Path
    units: Path = UNIT_DIRECTORY
    state: Path = STATE_DIRECTORY
    runtime: Path = RUNTIME_DIRECTORY
    driver: DriverPlaces = field(default_factory=DriverPlaces)
