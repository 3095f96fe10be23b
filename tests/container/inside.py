# SPDX-License-Identifier: Apache-2.0
"""Runs short Python programs in a machine, with the agent's code at hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from tests.rig.container import Container

_PREAMBLE: Final = """
import dataclasses, json, os, signal, subprocess, sys, threading, time
from pathlib import Path

def tell(value):
    print(json.dumps(value, default=lambda odd: sorted(odd) if isinstance(odd, frozenset)
                     else dataclasses.asdict(odd)), flush=True)

def systemctl(*words):
    subprocess.run(["systemctl", *words], check=True)
"""


def tell_inside(
    box: Container, program: str, *arguments: str, within: Sequence[str] = (), timeout: float = 60
) -> Any:
    """Runs a program in the machine; returns what it passed to `tell`, a list if more than once.

    within: a command that runs the one given after it.
    """
    done = box.run(
        [*within, "python3", "-c", _PREAMBLE + program, *arguments],
        env={"PYTHONPATH": "/usr/lib/llmagent", "PYTHONDONTWRITEBYTECODE": "1"},
        timeout=timeout,
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return told[0] if len(told) == 1 else told
