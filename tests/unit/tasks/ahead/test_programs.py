# SPDX-License-Identifier: Apache-2.0
"""What the unit that reads ahead has left behind, whatever became of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.core.settings.service import Settings
from agent.core.state.start.ahead import FilesRead
from agent.tasks.ahead.programs import models_of, reports_in
from tests.rig.paths import REPO

GOOD = (
    '{"service": "vllm", "files": 2, "size_bytes": 8, "resident_bytes": 4, "read_bytes": 4,'
    ' "stopped": ""}'
)


def test_each_service_has_its_line_and_a_torn_one_is_none(tmp_path: Path) -> None:
    file = tmp_path / "report"
    file.write_text(f"{GOOD}\n{GOOD.replace('vllm', 'embed')}\n{GOOD[:40]}")
    assert dict(reports_in(file)) == dict.fromkeys(("vllm", "embed"), FilesRead(2, 8, 4, 4))


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"service": 1, "files": "x"}', "\x00"])
def test_a_damaged_report_says_nothing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "report"
    assert [*reports_in(file)] == []
    file.write_text(text)
    assert [*reports_in(file)] == []


def test_a_model_is_where_it_lies_and_one_that_is_not_here_is_nowhere(tmp_path: Path) -> None:
    own = tmp_path / "llama"
    own.mkdir()
    assert [*models_of(Settings("vllm", str(own)))] == [str(own)]
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "hub/models--org--name/snapshots" / commit
    snapshot.mkdir(parents=True)
    (tmp_path / "hub/models--org--name/refs").mkdir()
    (tmp_path / "hub/models--org--name/refs/main").write_text(commit)
    environment = {"HF_HUB_CACHE": str(tmp_path / "hub")}
    asked = Settings("vllm", "org/name", environment=environment, tokenizer="org/other")
    assert [*models_of(asked)] == [str(snapshot)]


@pytest.mark.parametrize("command", ["take", "read"])
def test_a_full_disk_is_told_in_one_line(tmp_path: Path, command: str) -> None:
    (tmp_path / "vllm").write_text("")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "agent.tasks.ahead", command]
            + ([str(tmp_path), "/dev/full"] if command == "read" else [str(os.getpid())]),
            cwd=REPO,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    said = "python -m agent.tasks.ahead: [Errno 28] No space left on device"
    assert (done.returncode, done.stderr.splitlines()) == (1, [said])
