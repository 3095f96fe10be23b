# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from agent.core.changed import changed


@dataclass(frozen=True)
class Pair:
    left: tuple[int, ...] = ()
    right: str = ""


@given(st.builds(Pair), st.lists(st.integers(0, 2), max_size=2), st.sampled_from(["", "a"]))
def test_changed_is_what_replace_gives(pair: Pair, left: list[int], right: str) -> None:
    assert changed(pair, left=tuple(left), right=right) == replace(
        pair, left=tuple(left), right=right
    )


@given(st.builds(Pair))
def test_what_has_the_fields_already_is_returned_itself(pair: Pair) -> None:
    assert changed(pair, left=(*pair.left,), right=pair.right) is pair
