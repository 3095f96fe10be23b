# SPDX-License-Identifier: Apache-2.0
"""What a container asks of the host besides its image: ranges of user ids."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent.core.settings.service import Settings
from agent.core.unit.openings import wants_own_ids

SUBORDINATE: Final = ("etc/subuid", "etc/subgid")
OWNER: Final = "containers"
"""The user by whose name podman looks for ranges, which need not exist (podman-run(1))."""

RANGE: Final = "2147483647:2147483648"
"""What podman-run(1) gives as an example: the upper half of all ids, which nobody else has."""


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
