# SPDX-License-Identifier: Apache-2.0
"""Each story of what a stranger typed is a test on the installed package, on both Debians."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Final

from tests.rig.paths import REPO

STORIES: Final = {f"A{n}" for n in range(1, 10)} | {f"B{n}" for n in range(1, 17)}
"""Faults that a new user met: A hid or caused an outage, B cost time or trust."""

DEBIANS: Final = ("bookworm", "trixie")
COLLECT: Final = """
import json, sys
import pytest

class Collector:
    def pytest_collection_finish(self, session):
        told = [[item.nodeid, name]
                for item in session.items
                for mark in item.iter_markers("story")
                for name in mark.args]
        print("TOLD " + json.dumps(told))

sys.exit(pytest.main(["-q", "--collect-only", "tests/container"], plugins=[Collector()]))
"""


def played() -> dict[str, set[str]]:
    """Returns the tests of each story, by their node ids."""
    done = subprocess.run(
        [sys.executable, "-c", COLLECT], check=True, capture_output=True, text=True, cwd=REPO
    )
    (told,) = (line for line in done.stdout.splitlines() if line.startswith("TOLD "))
    tests: dict[str, set[str]] = {}
    for test, story in json.loads(told.removeprefix("TOLD ")):
        tests.setdefault(story, set()).add(test)
    return tests


def test_each_story_is_played_on_both_debians() -> None:
    tests = played()
    assert tests.keys() == STORIES
    lacking = [
        f"{story} on {debian}"
        for story, nodes in tests.items()
        for debian in DEBIANS
        if not any(debian in node for node in nodes)
    ]
    assert lacking == []
