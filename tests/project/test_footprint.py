# SPDX-License-Identifier: Apache-2.0
"""What the daemon must not load: it runs for months beside what the host is there for."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import pytest

from tests.rig.paths import REPO

LOADED: Final = """\
import sys
from agent.cli.main import modules_of
modules_of(["run"])
import agent.daemon.wiring
print(*sys.modules)
"""


@pytest.fixture(scope="module")
def loaded() -> frozenset[str]:
    """Returns the modules of a daemon that has not begun yet."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED], check=True, capture_output=True, text=True, cwd=REPO
    )
    return frozenset(done.stdout.split())


def test_the_daemon_holds_no_other_commands_code(loaded: frozenset[str]) -> None:
    commands = {name for name in loaded if name.startswith("agent.cli.")}
    assert commands == {"agent.cli.main", "agent.cli.run"}


@pytest.mark.parametrize(
    "module",
    [
        "asyncio",  # 3 MiB; everything here is threads
        "bcrypt",  # only with a web config file that has users
        "difflib",  # only for who has made a mistake
        "importlib.resources",  # zip and tempfiles; agent.packaged finds the same files
        "lxml",  # pystemd's introspection
        "requests",  # urllib3 does, without its guesses of charsets and its jar of cookies
        "pynvml",  # only where there is a driver
        "statistics",  # only for `llmagent bench`
        "tomli_w",  # only for who writes a profile
        "yaml",  # only with a web config file
    ],
)
def test_the_daemon_loads_nothing_that_it_may_never_need(
    module: str, loaded: frozenset[str]
) -> None:
    assert module not in loaded
