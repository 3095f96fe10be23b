# SPDX-License-Identifier: Apache-2.0
"""A host as the agent sees it, with one service that runs, and what one has on its disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.core.view.host import Disk, HostView, Machine, ServiceUsage

GIB = 1 << 30
HOST = HostView(
    machine=Machine(64 * GIB, 60 * GIB, 8 * GIB, 8 * GIB, 1.5, 1.25, 1.0),
    disks=(
        Disk("/var/lib/vllm/huggingface", 1000 * GIB, 400 * GIB),
        Disk("/var/cache/vllm", 100 * GIB, 40 * GIB),
    ),
    services={"vllm": ServiceUsage(3, 12.5, 4 * GIB, 5 * GIB, 900, 1048576)},
)


@contextmanager
def readable_host(*programs: str) -> Iterator[Path]:
    """Gives a directory that every user may read, with venv (of vLLM 0.32) and model in it.

    `programs` are in the venv's bin. pytest's own directories are closed to who runs vLLM.
    """
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        root = Path(place)
        root.chmod(0o755)
        information = root / "venv/lib/python3.11/site-packages/vllm-0.32.0.dist-info"
        information.mkdir(parents=True)
        (information / "METADATA").write_text("Name: vllm\nVersion: 0.32.0\n\n")
        (root / "venv/bin").mkdir()
        for program in programs:
            (root / "venv/bin" / program).write_text("#!/bin/sh\n")
            (root / "venv/bin" / program).chmod(0o755)
        (root / "venv/pyvenv.cfg").write_text("home = /usr/bin\n")
        (root / "model").mkdir()
        (root / "model/config.json").write_text("{}")
        yield root
