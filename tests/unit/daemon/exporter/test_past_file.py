# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from agent.daemon.exporter.past_file import NAME, read_past, write_past
from tests.unit.core.past.test_past import START, an_hour


def test_the_next_process_finds_what_the_last_one_left(tmp_path: Path) -> None:
    past = an_hour()
    write_past(tmp_path, past)
    found = read_past(tmp_path, START + 3700.0)
    assert found.document(0.0, 0.0) == past.document(0.0, 0.0)
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == [NAME]


def test_nothing_left_and_no_room_to_leave_it_are_no_errors(tmp_path: Path) -> None:
    assert read_past(tmp_path, START).services == {}
    write_past(tmp_path / "gone", an_hour())
    (tmp_path / NAME).write_bytes(b"\x00" * 1000)
    assert read_past(tmp_path, START).services == {}
