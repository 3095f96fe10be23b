# SPDX-License-Identifier: Apache-2.0
"""What any version of llmagent has written is read, field by field; nothing makes it raise."""

from __future__ import annotations

import copy
import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.failures.classes import FailureClass
from agent.core.state.card import Cure, LeverState
from agent.core.state.phases import Phase
from agent.core.state.rows.stored import LONGEST_ROW, state_of
from agent.core.state.service import ServiceState
from agent.version import VERSION

DUMPS: Final = sorted((Path(__file__).parent / "stored").glob("*.sql"))
"""The store of each released version, as its own code wrote it."""
RELEASED: Final = ("0.1.0",)


def rows_of(dump: Path) -> dict[str, str]:
    with sqlite3.connect(":memory:") as store:
        store.executescript(dump.read_text())
        rows = dict(store.execute("SELECT key, value FROM state").fetchall())
    store.close()
    return rows


ROWS = rows_of(DUMPS[0])
VLLM: dict[str, Any] = json.loads(ROWS["service:vllm"])


def test_there_is_a_store_of_each_released_version() -> None:
    assert tuple(dump.stem for dump in DUMPS) == RELEASED
    assert VERSION in RELEASED, "a release adds its own store here"


@pytest.mark.parametrize("dump", DUMPS, ids=lambda dump: dump.stem)
def test_the_store_of_a_released_version_is_read_whole(dump: Path) -> None:
    state, problems = state_of(rows_of(dump))
    assert problems == ()
    assert (state.boot_id, state.next_action_id, state.booted_at) == ("b" * 32, 9, 0.0)
    vllm, embed = state.services["vllm"], state.services["embed"]
    assert vllm.phase is Phase.SERVING
    assert vllm.learned.overrides["gpu_memory_utilization"].running == 0.9
    assert vllm.last_good is not None
    assert vllm.last_good.settings.max_model_len == 65536
    assert vllm.last_good.settings.gpu_memory_utilization == 0.9
    assert vllm.rolled_back is not None
    assert vllm.learned.spent == {FailureClass.OOM_RUNTIME: 1}
    assert vllm.recent_starts == (1764000000.0 - 200, 1764000000.0 - 100)
    assert vllm.proven is not None
    assert embed.phase is Phase.STOPPED
    assert embed.learned.overrides["max_num_seqs"].running == 64
    card = state.cards["GPU-aa"]
    assert card.cap.state is LeverState.IN_FORCE
    assert card.xids[13].count == 2
    assert card.ailment is not None
    assert card.ailment.cure is Cure.REBOOT


def paths_in(value: object, at: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    if at:
        yield at
    entries: Mapping[object, object] = {}
    if isinstance(value, dict):
        entries = value
    elif isinstance(value, list):
        entries = dict(enumerate(value))
    for key, item in entries.items():
        yield from paths_in(item, (*at, key))


def with_bad(document: Any, path: tuple[Any, ...], bad: object) -> Any:
    changed = copy.deepcopy(document)
    inside = changed
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = bad
    return changed


BAD: Final[tuple[object, ...]] = (
    "a word of the future",
    1e400,
    10**400,
    None,
    True,
    [],
    {},
    [[1]],
    {"x": {"y": 1}},
    -1,
)


def parts_that_matter(s: ServiceState) -> dict[str, object]:
    return {"phase": s.phase, "overrides": s.learned.overrides, "last_good": s.last_good}


@pytest.mark.parametrize("bad", BAD, ids=repr)
def test_phase_and_what_was_learned_survive_any_single_bad_field(bad: object) -> None:
    whole = parts_that_matter(state_of(ROWS)[0].services["vllm"])
    for path in paths_in(VLLM):
        rows = {**ROWS, "service:vllm": json.dumps(with_bad(VLLM, path, bad))}
        state, _ = state_of(rows)
        kept = parts_that_matter(state.services["vllm"])
        lost = {name for name, value in whole.items() if kept[name] != value}
        assert lost <= {path[0]}, path
        assert state.services["embed"].phase is Phase.STOPPED


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        (("failure", "failure"), "learned"),
        (("died", "phase"), "last_good"),
        (("asked", "then"), "phase"),
    ],
)
def test_a_word_of_a_newer_version_costs_the_field_that_it_stands_in(
    path: tuple[str, ...], kept: str
) -> None:
    rows = {**ROWS, "service:vllm": json.dumps(with_bad(VLLM, path, "word-of-the-future"))}
    state, problems = state_of(rows)
    s = state.services["vllm"]
    assert getattr(s, path[0]) is None
    assert getattr(s, kept)
    assert len(problems) == 1
    assert "service:vllm" in problems[0]
    assert path[0] in problems[0]


def test_unknown_words_in_a_table_are_dropped_one_by_one() -> None:
    more = {**VLLM, "spent": {"oom-runtime": 1, "melted": 4}, "new_field": {"x": 1}}
    more["checks"] = [*VLLM["checks"], {"name": "from the future", "verdict": "perhaps"}]
    state, problems = state_of({**ROWS, "service:vllm": json.dumps(more)})
    s = state.services["vllm"]
    assert s.learned.spent == {FailureClass.OOM_RUNTIME: 1}
    assert len(s.checks) == 1
    assert "learned.spent.melted" in problems[0]
    assert "checks[1]" in problems[0]


def test_half_of_the_settings_that_ran_are_no_settings() -> None:
    for bad in ({"engine": {"runtime": "kata"}}, {"max_model_len": "long"}):
        more = with_bad(VLLM, ("last_good", "settings"), {**VLLM["last_good"]["settings"], **bad})
        s = state_of({**ROWS, "service:vllm": json.dumps(more)})[0].services["vllm"]
        assert s.last_good is None
        assert s.running is not None


def test_a_card_keeps_the_xids_that_can_be_read() -> None:
    card = json.loads(ROWS["gpu:GPU-aa"])
    card["xids"]["79"] = {"count": "many", "last_at": None}
    card["ailment"]["failure"] = "melted"
    state, problems = state_of({"gpu:GPU-aa": json.dumps(card)})
    kept = state.cards["GPU-aa"]
    assert kept.xids[13].count == 2
    assert kept.ailment is None
    assert problems


@pytest.mark.parametrize(
    "text",
    [
        *("{}", "null", "[]", "1", '"x"', "", "{", "NaN", "[" * 100_000, '{"boot_id": 5}'),
        *('{"booted_at": 1e400}', '{"boot_id": "b", "booted_at": "x"}'),
        *('{"next_action_id": 1e400}', '{"boot_id": "b", "next_action_id": "9"}'),
        *('{"phase": "serving", "since": NaN}', '{"name": null}', "x" * (LONGEST_ROW + 1)),
    ],
    ids=lambda text: text[:30],
)
def test_no_row_makes_reading_raise(text: str) -> None:
    for key in ("host", "service:vllm", "gpu:GPU-aa", "checkup", "config", "cursor:x", "", "new:x"):
        state, problems = state_of({**ROWS, key: text})
        assert "embed" in state.services
        assert all(len(problem) < 1000 for problem in problems)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)
KEYS = st.sampled_from(["host", "service:vllm", "gpu:GPU-aa", "checkup"]) | st.text(max_size=12)


@given(st.dictionaries(KEYS, JSON.map(json.dumps) | st.text(max_size=30), max_size=5))
def test_whatever_the_table_holds_it_is_a_state(rows: dict[str, str]) -> None:
    state_of(rows)


FIELDS = sorted(paths_in(VLLM), key=repr)


@given(st.lists(st.tuples(st.sampled_from(FIELDS), JSON), min_size=1, max_size=6))
@settings(max_examples=200)
def test_however_many_fields_are_bad_the_service_is_known(
    changes: list[tuple[tuple[object, ...], object]],
) -> None:
    document = VLLM
    for path, bad in changes:
        try:
            document = with_bad(document, path, bad)
        except (KeyError, IndexError, TypeError):
            continue
    state, _ = state_of({"service:vllm": json.dumps(document)})
    assert state.services["vllm"].name == "vllm"
