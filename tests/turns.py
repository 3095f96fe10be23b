# SPDX-License-Identifier: Apache-2.0
"""In which order the tests on machines are run, and which of them one worker runs in a row.

Machines mostly wait and real vLLM computes: three workers keep two cores busy as long as one of
them alone starts vLLM, which needs memory, too. What takes longest comes first, so that no worker
is left with it at the end.
"""

from __future__ import annotations

from typing import Final

LONGEST: Final = (
    "tests/vllm",
    "tests/container/stories",
    "tests/container/test_downloads.py",
    "tests/container/test_docker.py",
    "tests/container/test_hostile_load.py",
    "tests/container/test_podman.py",
    "tests/container/test_shapes.py",
    "tests/container/test_apt_repository.py",
    "tests/container/test_ansible.py",
    "tests/container/test_two_hosts.py",
    "tests/container/test_daemon.py",
    "tests/container/test_package.py",
)
"""From the longest on; a whole run's durations are to be looked at now and then."""
SHARED: Final = ("tests/vllm", "tests/container/stories")
"""Folders of which one worker runs all, or all on one Debian: tests/container/stories shares one
machine of each."""


def group_of(nodeid: str) -> str:
    """Returns the name of what one worker runs in a row: a file, or a folder of SHARED."""
    file, _, test = nodeid.partition("::")
    folder = next((name for name in SHARED if file.startswith(f"{name}/")), "")
    if not folder:
        return file
    suite = next((name for name in ("bookworm", "trixie") if f"[{name}" in test), "")
    return f"{folder} {suite}".strip()


def turn_of(nodeid: str) -> tuple[int, str]:
    """Returns what to sort tests by, so that those of one group stay in their order."""
    place = next((n for n, name in enumerate(LONGEST) if nodeid.startswith(name)), len(LONGEST))
    return place, group_of(nodeid)
