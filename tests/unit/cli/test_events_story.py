# SPDX-License-Identifier: Apache-2.0
"""The history reads like a story: one incident is one entry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cli.events import told
from agent.cli.main import main
from agent.cli.screen.story import story
from agent.host.store.store import Event

ROWS = [
    (0, "", "agent", "the agent started"),
    (1, "vllm", "configured", "vllm.service is in agent.toml"),
    (1, "vllm", "start", "start vllm.service"),
    (60, "vllm", "ready", "/health answers 200, 59 s after the start"),
    (61, "vllm", "serving", "serving: 11 proven"),
    (1000, "vllm", "died", "vllm.service ended unasked (result success, status 0)"),
    (1000, "vllm", "failure", "oom-runtime while serving: CUDA out of memory"),
    (1000, "vllm", "learned", "gpu_memory_utilization = 0.9 from now on"),
    (1000, "vllm", "remedy", "oom-runtime: start again: gpu_memory_utilization ..."),
    (1000, "vllm", "start", "start vllm.service"),
    (1040, "vllm", "ready", "/health answers 200, 40 s after the start"),
    (1041, "vllm", "serving", "serving: 11 proven"),
    (1700, "vllm", "settled", "served for 600 s"),
]


def events(rows: list[tuple[int, str, str, str]]) -> list[Event]:
    return [Event(float(at), who, kind, text, {}) for at, who, kind, text in rows]


def lines(rows: list[tuple[int, str, str, str]]) -> list[str]:
    """Returns what is told without the times of day and the heading of the day."""
    return [line[10:] if line[2:3] == ":" else line.strip() for line in told(events(rows), None)][
        1:
    ]


def test_a_failure_its_cure_and_the_time_without_service_are_one_entry() -> None:
    *entries, last = lines(ROWS)
    assert entries[:3] == [
        "llmagent: the agent started",
        "vllm: vllm.service is in agent.toml",
        "vllm: serving: 11 proven",
    ]
    assert entries[3:5] == [
        "vllm: oom-runtime while serving: CUDA out of memory",
        "gpu_memory_utilization = 0.9 from now on",
    ]
    assert entries[5].startswith("back at ")
    assert entries[5].endswith("after 41 s without service (1 start)")
    assert last == "vllm was away 1 time, 41 s in all"


def test_the_time_without_service_is_what_the_daemon_has_added_up() -> None:
    """It counts from the last sign of life, which may be before systemd saw the end."""
    said = "back after 44 s (detect 3 s, start 40 s, verify 1 s); start: imports 20 s, weights 9 s"
    steps = {"detect": 3.0, "start": 40.0, "verify": 1.0}
    back = Event(1041.0, "vllm", "back", said, {"outage": steps})
    rows = [*events(ROWS[:-2]), back, *events(ROWS[-2:])]
    told_lines = [line.strip() for line in told(rows, None)]
    [line] = [line for line in told_lines if line.startswith("back at")]
    assert line.endswith("after 44 s without service (1 start; detect 3 s, start 40 s, verify 1 s)")
    assert told_lines[told_lines.index(line) + 1] == "start: imports 20 s, weights 9 s"
    assert told_lines[-1].endswith("vllm was away 1 time, 44 s in all")


@pytest.mark.parametrize("data", [{}, {"outage": "x"}, {"outage": {"start": "y"}}, {"outage": []}])
def test_a_row_of_another_release_tells_the_time_between_its_ends(data: dict[str, object]) -> None:
    back = Event(1041.0, "vllm", "back", "back", data)
    told_lines = told([*events(ROWS[:-2]), back, *events(ROWS[-2:])], None)
    assert any("after 41 s without service (1 start)" in line for line in told_lines)


def test_what_ends_held_says_what_to_do() -> None:
    held = (1001, "vllm", "held", "gated-repo: needs a person. To do: ask for access")
    *_, entry, last = lines([*ROWS[:7], held])
    assert entry.startswith("gated-repo: needs a person. To do: ask for access (")
    assert last == "vllm was away 1 time, 1 s in all"


def test_what_is_not_back_yet_is_told_last() -> None:
    assert lines(ROWS[:10])[-2] == "not back yet (1 start)"


def test_two_services_have_each_their_own_story() -> None:
    other = [(at, "chat", kind, text) for at, who, kind, text in ROWS if who]
    mixed = sorted([*ROWS, *other], key=lambda row: row[0])
    assert lines(mixed)[-1] == (
        "vllm was away 1 time, 41 s in all; chat was away 1 time, 41 s in all"
    )


def test_a_quiet_night_is_one_line() -> None:
    assert list(told([], None)) == ["nothing happened"]


KINDS = ["died", "kill", "failure", "learned", "start", "serving", "held", "stopped", "reload"]


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.sampled_from(KINDS)), max_size=30))
def test_no_failure_is_lost_in_the_telling(seen: list[tuple[str, str]]) -> None:
    rows = [Event(float(n), who, kind, f"{kind} {n}", {}) for n, (who, kind) in enumerate(seen)]
    text = "\n".join(line for entry in story(rows) for line in entry.lines)
    away: set[str] = set()
    for event in rows:
        if event.service and event.kind in ("died", "kill") and event.service not in away:
            away.add(event.service)
        elif event.kind in ("held", "stopped", "serving"):
            away.discard(event.service)
            assert event.kind == "serving" or event.message in text
    assert text.count("not back yet") == len(away)


def test_a_limit_below_one_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["events", "--limit", "-1"])
    assert ended.value.code == 2
    assert "must be 1 or more" in capsys.readouterr().err
