# SPDX-License-Identifier: Apache-2.0
"""Only one agent at a time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from agent.errors import HostLacksError
from agent.host.machine.lock import AlreadyRunningError, InstanceLock

REPO: Final = Path(__file__).parents[4]
HOLDER: Final = """
import sys, time
from pathlib import Path
from agent.host.machine.lock import InstanceLock
lock = InstanceLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def test_a_second_instance_is_told_the_pid_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with (
        contextlib.closing(InstanceLock(path)),
        pytest.raises(AlreadyRunningError, match=f"PID {os.getpid()} "),
    ):
        InstanceLock(path)


def test_the_lock_is_free_once_its_holder_closed_it(tmp_path: Path) -> None:
    InstanceLock(tmp_path / "lock").close()
    InstanceLock(tmp_path / "lock").close()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], cwd=REPO, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(AlreadyRunningError, match=f"PID {holder.pid} "):
        InstanceLock(path)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    InstanceLock(path).close()


def test_a_lock_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(HostLacksError, match="absent"):
        InstanceLock(tmp_path / "absent" / "lock")
