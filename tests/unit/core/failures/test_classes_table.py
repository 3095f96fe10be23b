# SPDX-License-Identifier: Apache-2.0
"""The table of failure classes: each entry is whole, and a class is one entry."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from agent.core.failures.classes import FailureClass, Group, Kind
from agent.core.failures.meaning import TABLE, AtLast, Proof, facts_from_row
from agent.core.failures.shipped import CLASSES, CLASSES_OF_XIDS
from agent.core.remedy.ladders import LADDERS, RUNGS
from tests.rig.paths import REPO

ROW: dict[str, Any] = {"kind": "permanent", "group": "memory", "advice": "Buy another card."}


def test_each_entry_and_each_xid_with_an_action_is_a_class() -> None:
    xids = [f"xid-{code}" for code in CLASSES_OF_XIDS]
    assert [failure.value for failure in FailureClass] == [*CLASSES, *xids, "xid-other"]
    assert FailureClass.OOM_KV_NONE is FailureClass("oom-kv-none")


def test_every_rung_is_used_by_some_class_and_every_ladder_has_its_rungs() -> None:
    used = {rung for row in TABLE.values() for rung in row.ladder}
    assert used == set(RUNGS)
    assert all(len(LADDERS[name]) == len(row.ladder) for name, row in TABLE.items() if row.ladder)


def test_an_entry_has_its_rungs_as_often_as_it_says() -> None:
    row = facts_from_row({**ROW, "ladder": ["no_graphs", "half_the_seqs x2"]})
    assert row.ladder == ("no_graphs", "half_the_seqs", "half_the_seqs")


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "sometimes"},
        {"group": "weather"},
        {"proves": "nothing"},
        {"at_last": "pray"},
        {"ladder": ["no_graphs xx"]},
        {"advise": "a column of another name"},
    ],
)
def test_a_wrong_entry_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        facts_from_row({**ROW, **wrong})


def test_an_entry_needs_only_its_kind_and_its_advice() -> None:
    assert facts_from_row(ROW).kind is Kind.PERMANENT
    assert facts_from_row(ROW).group is Group.MEMORY


def test_the_head_of_the_table_explains_each_column_and_each_value() -> None:
    text = (resources.files("agent.failures") / "classes.toml").read_text()
    head = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    columns = {column for row in CLASSES.values() for column in row} - {"group"}
    assert {name for name in columns if not re.search(rf"(?m)^# {name}\b", head)} == set()
    values = [value.value for kind in (Kind, Proof, AtLast) for value in kind]
    assert [value for value in values if f'"{value}"' not in head] == []


@pytest.mark.parametrize("damage", ["[memory", None])
def test_a_damaged_package_is_told_in_one_sentence(tmp_path: Path, damage: str | None) -> None:
    shutil.copytree(REPO / "agent", tmp_path / "agent")
    table = tmp_path / "agent/failures/classes.toml"
    table.unlink()
    if damage is not None:
        table.write_text(damage)
    code = "import sys; from agent.cli.main import main; sys.exit(main(['diagnose', '-']))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 4
    assert done.stderr.startswith("llmagent diagnose: agent/failures/classes.toml: ")
    assert done.stderr.endswith("reinstall the package\n")
    assert len(done.stderr.splitlines()) == 1
