# SPDX-License-Identifier: Apache-2.0
"""No command prints a control character, whatever stands in status.json, store, answers or logs."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cli import diagnose, doctor, events, status, verify, why
from agent.core.diagnosis.reader import LogReader
from agent.core.doctor.finding import fail
from agent.core.plain import plain, plain_name
from agent.core.verify.check import Check, Verdict
from agent.core.view.snapshot import to_json
from agent.errors import UsageError
from agent.host.data.cards import read_prices
from agent.host.data.profiles import read_profiles
from agent.host.data.signatures import load_signatures
from agent.host.store.store import Event, StoredEvent
from tests.given.some_gpus import H200, some_gpus
from tests.given.some_snapshot import SNAPSHOT

DOCUMENT: dict[str, Any] = json.loads(json.dumps(to_json(replace(SNAPSHOT, gpus=some_gpus(H200)))))
SIGNATURES = load_signatures()
COLOURS = re.compile(r"\x1b\[\d+m")
PIECES = ("\x1b[2J", "\x1b]0;x\x07", "\r", "\n<2>", "\x00", "\x9b31m", "\u202e", "\u2066", "\ud800")
HOSTILE = st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=5).map("".join)


def hostile(value: Any, texts: st.DataObject) -> Any:
    """Return the document with a stranger's text in place of some of its own."""
    if isinstance(value, str):
        return value + texts.draw(HOSTILE) if texts.draw(st.booleans()) else value
    if isinstance(value, dict):
        return {key: hostile(part, texts) for key, part in value.items()}
    return [hostile(part, texts) for part in value] if isinstance(value, list) else value


def is_clean(printed: str) -> bool:
    return all(line.isprintable() for line in COLOURS.sub("", printed).split("\n"))


@pytest.mark.parametrize("colour", [False, True])
@given(st.data())
@settings(max_examples=30, deadline=None)
def test_status_and_why_print_no_control_character_for_any_status_json(
    colour: bool, texts: st.DataObject
) -> None:
    view = hostile(DOCUMENT, texts)
    view["services"] = {f"{name}\x1b\r": s for name, s in view["services"].items()}
    for everything in (False, True):
        assert is_clean(status.render(view, colour=colour, everything=everything))
    assert is_clean("\n\n".join(why.told(view, colour=colour)))


@given(HOSTILE, HOSTILE, HOSTILE)
@settings(max_examples=50, deadline=None)
def test_verify_events_and_doctor_print_no_control_character(a: str, b: str, c: str) -> None:
    check = Check(a, b, c, Verdict.UNKNOWN, c, a)
    report = verify.VerifyReport(a, b, c, answered=True, checks=(check,), pending=(b,))
    for colour in (False, True):
        assert is_clean(verify.as_text(report, colour=colour))
        assert is_clean(doctor.human([fail(a, b, c)], colour=colour, everything=True))
    rows = [
        Event(5.0, a, "died", b, {}),
        Event(6.0, a, "learned", c, {}),
        Event(7.0, b, "x", a, {}),
    ]
    assert is_clean("\n".join(events.told(rows, None)))
    assert all(is_clean(events.line_of(StoredEvent(1, row), "human")) for row in rows)


@given(HOSTILE, HOSTILE)
@settings(max_examples=50, deadline=None)
def test_diagnose_prints_no_control_character(a: str, b: str) -> None:
    reader = LogReader(SIGNATURES)
    for line in (f"INFO 11-28 16:34:02 [loader.py:1] Loading weights {a}: 12% {b}", a, b):
        reader.feed(line)
    reader.feed(f"torch.OutOfMemoryError: CUDA out of memory. {a} Tried to allocate 2.00 GiB {b}")
    assert is_clean(diagnose.human(reader.diagnosis()))
    assert is_clean(diagnose.json_of(reader.diagnosis()))


@given(st.text())
def test_plain_text_is_one_printable_line_and_keeps_what_is_printable(text: str) -> None:
    assert plain(text).isprintable()
    assert len(plain(text)) == len(text)
    assert len(plain_name(text * 100)) <= 300
    assert plain(plain(text)) == plain(text)
    if text.isprintable():
        assert plain(text) == text


@pytest.mark.parametrize("seconds", [1e18, -1e13, float("inf"), float("nan"), 1e300])
def test_a_time_that_no_calendar_has_is_told_as_such(seconds: float) -> None:
    row = StoredEvent(1, Event(seconds, "vllm", "held", "told", {}))
    assert "at no known time" in events.line_of(row, "human")
    assert "at no known time" in "\n".join(events.told([row.event], None))


@pytest.mark.parametrize("text", ["9" * 400 + "d", "9" * 5000 + "s", "²h", "0001-01-01"])
def test_a_time_of_any_length_is_a_mistake_in_one_sentence(text: str) -> None:
    with pytest.raises(UsageError, match="is no time"):
        events.parse_since(text, 1_764_000_000.0)


@pytest.mark.parametrize(
    "content", ["9" * 400, "9" * 5000, "[" * 5000, "inf", "-1", "nan", "true", '"1"']
)
def test_a_price_that_is_none_is_a_mistake_in_one_sentence(tmp_path: Path, content: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(f'[prices]\n"RTX 4090" = {content}\n')
    with pytest.raises(UsageError, match=r"prices\.toml"):
        read_prices(file)


def test_a_profile_with_a_number_that_is_none_is_a_mistake_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(f"match = {'9' * 5000}\n")
    with pytest.raises(UsageError, match=r"own\.toml"):
        read_profiles([tmp_path])
