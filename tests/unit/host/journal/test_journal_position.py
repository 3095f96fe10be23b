# SPDX-License-Identifier: Apache-2.0
"""A follower that steps back passes each entry once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.host.journal.position import REMEMBERED, Position


class SortedJournal:
    """A journal whose entries are numbers; more of them can appear anywhere."""

    def __init__(self) -> None:
        self.entries: set[int] = set()
        self.at = -1

    def seek_head(self) -> None:
        self.at = -1

    def seek_cursor(self, cursor: str) -> None:
        self.at = int(cursor) - 1

    def read(self, position: Position) -> list[int]:
        ahead = sorted(entry for entry in self.entries if entry > self.at)
        self.at = max(ahead, default=self.at)
        return [entry for entry in ahead if position.passes(str(entry))]


def test_the_start_is_passed_already_or_not() -> None:
    journal = SortedJournal()
    journal.entries = {4, 5, 6}
    for passed, expected in ((True, [6]), (False, [5, 6])):
        position = Position("5", start_is_passed=passed)
        position.seek(journal)
        assert journal.read(position) == expected


@given(st.lists(st.sets(st.integers(10, 200), max_size=30), max_size=6))
def test_entries_that_appear_behind_are_passed_once_and_none_is_left_out(
    arrivals: list[set[int]],
) -> None:
    journal = SortedJournal()
    position = Position(None, start_is_passed=False)
    found: list[int] = []
    for arrival in arrivals:
        journal.entries |= arrival
        position.seek(journal)
        found += journal.read(position)
    assert sorted(found) == sorted(journal.entries)


def test_stepping_back_goes_no_further_than_what_is_remembered() -> None:
    journal = SortedJournal()
    journal.entries = set(range(10 * REMEMBERED))
    position = Position("0", start_is_passed=True)
    position.seek(journal)
    assert len(journal.read(position)) == 10 * REMEMBERED - 1
    position.seek(journal)
    assert len([entry for entry in journal.entries if entry > journal.at]) == REMEMBERED
    assert journal.read(position) == []
