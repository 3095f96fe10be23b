# SPDX-License-Identifier: Apache-2.0
"""Dataclasses whose methods are shared do what those of the standard library do."""

from __future__ import annotations

import copy
import dataclasses
import gc
import math
import pickle
import weakref
from collections.abc import Callable
from dataclasses import FrozenInstanceError, field
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core import record

ROOT: Final = Path(record.__file__).parents[2]
MAKERS: Final[tuple[Callable[..., Any], ...]] = (dataclasses.dataclass, record.dataclass)
VALUES: Final = st.none() | st.integers(0, 1) | st.just(math.nan) | st.tuples(st.integers(0, 1))


def _classes(make: Callable[..., Any]) -> tuple[type, type, type, type]:
    """Return classes of each form that the agent has; the same names for each maker."""

    @make(frozen=True, slots=True)
    class Frozen:
        value: Any
        unseen: Any = field(default=0, repr=False)
        aside: Any = field(default=0, compare=False)

    @make(frozen=True, slots=True)
    class One:
        value: Any

    @make(slots=True)
    class Open:
        value: Any
        others: list[Any] = field(default_factory=list)

    @make
    class Empty:
        pass

    for kind in (Frozen, One, Open, Empty):
        kind.__qualname__ = kind.__name__
    return Frozen, One, Open, Empty


@given(left=VALUES, right=VALUES, unseen=VALUES, aside=VALUES)
def test_equal_hashed_and_shown_as_the_standard_library_does(
    left: object, right: object, unseen: object, aside: object
) -> None:
    said = []
    for make in MAKERS:
        frozen, one, opened, empty = _classes(make)
        pairs = [
            (frozen(left, unseen, aside), frozen(right, unseen, 0)),
            (one(left), one(right)),
            (opened(left), opened(right, [aside])),
            (empty(), empty()),
            (one(left), opened(left)),
            (one(left), left),
        ]
        equal = [a == b for a, b in pairs]
        same_hash = [hash(a) == hash(b) for a, b in pairs[:2] if a == b]
        assert all(same_hash)
        said.append((equal, [repr(a) for a, _ in pairs]))
    assert said[0] == said[1]


def test_nothing_of_a_frozen_one_is_set_or_deleted_and_an_open_one_has_no_hash() -> None:
    for make in MAKERS:
        frozen, _, opened, _ = _classes(make)
        made = frozen(1)
        with pytest.raises(FrozenInstanceError):
            made.value = 2
        with pytest.raises(FrozenInstanceError):
            del made.value
        assert made.value == 1
        changed = opened(1)
        changed.value = 2
        assert changed == opened(2)
        with pytest.raises(TypeError, match="unhashable"):
            hash(changed)


@record.dataclass(frozen=True, slots=True)
class Stored:
    """What is copied and pickled must stand in a module."""

    value: int
    inner: tuple[Stored, ...] = ()


def test_copied_pickled_replaced_and_matched() -> None:
    made = Stored(1, (Stored(2),))
    assert copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == made
    assert dataclasses.replace(made, value=3) == Stored(3, (Stored(2),))
    assert dataclasses.asdict(made) == {"value": 1, "inner": ({"value": 2, "inner": ()},)}
    match made:
        case Stored(value, (Stored(inner),)):
            assert (value, inner) == (1, 2)


def test_what_holds_itself_is_shown_once() -> None:
    for make in MAKERS:
        _, _, opened, _ = _classes(make)
        made = opened(1)
        made.others.append(made)
        assert repr(made) == "Open(value=1, others=[...])"


def test_the_class_without_slots_is_let_go() -> None:
    def before_and_after() -> tuple[weakref.ref[type], type]:
        class Plain:
            value: int

        return weakref.ref(Plain), record.dataclass(frozen=True, slots=True)(Plain)

    before, after = before_and_after()
    gc.collect()
    assert before() is None
    assert after.__slots__ == ("value",)  # type: ignore[attr-defined]


def test_every_dataclass_of_the_agent_is_made_so() -> None:
    """agent.notify runs apart from the daemon, and knows nothing of the agent."""
    own = {ROOT / "agent/core/record.py", *ROOT.glob("agent/notify/**/*.py")}
    others = [
        str(path.relative_to(ROOT))
        for path in ROOT.glob("agent/**/*.py")
        if path not in own and "from dataclasses import dataclass" in path.read_text("utf-8")
    ]
    assert others == []
