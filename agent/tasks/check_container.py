# SPDX-License-Identifier: Apache-2.0
"""What a container asks of the host besides its image, and what `strict` leaves open there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent.core.settings.service import Settings
from agent.core.unit.container_user import left_open
from agent.core.unit.openings import wants_own_ids
from agent.host.machine.container_user import container_user

SUBORDINATE: Final = ("etc/subuid", "etc/subgid")
OWNER: Final = "containers"
"""The user by whose name podman looks for ranges, which need not exist (podman-run(1))."""

RANGE: Final = "2147483647:2147483648"
"""What podman-run(1) gives as an example: the upper half of all ids, which nobody else has."""


def strict_leaves_open(settings: Settings) -> str:
    """Return what `strict` does not confine of a container on this host, "" for none of them."""
    _, why_root = container_user(settings)
    return left_open(settings, why_root)


def missing_ranges(settings: Settings, root: Path = Path("/")) -> Iterator[str]:
    """Yield a sentence for each file that lacks the range by which --userns=auto works."""
    if not wants_own_ids(settings):
        return
    for name in SUBORDINATE:
        file = root / name
        try:
            lines = file.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            lines = []
        except OSError as error:
            yield f"--userns=auto needs a range of /{name}, which cannot be read: {error.strerror}"
            continue
        if not any(line.startswith(f"{OWNER}:") for line in lines):
            yield (
                f"--userns=auto finds no range for {OWNER} in /{name}; add the line "
                f"{OWNER}:{RANGE} to it"
            )
