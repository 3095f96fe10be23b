# SPDX-License-Identifier: Apache-2.0
"""Two engines that write into one file are told apart, and each is judged for itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import chain, zip_longest

import pytest

from agent.core.diagnosis.carried.services import ServicesReader
from agent.core.failures.classes import FailureClass, Outcome
from tests.given.engine_logs import DEATH_AT_START, LOADING, SERVING, SIGNATURES, v1

BROKEN = (
    v1(
        "EngineCore failed to start.\nTraceback (most recent call last):\n"
        "ValueError: LoRA rank 96 is greater than max_lora_rank 32.",
        level="ERROR",
    )
    + DEATH_AT_START
)
FAILED = f"{LOADING}\n{BROKEN}".strip("\n").split("\n")
SERVES = SERVING.strip("\n").split("\n")


def _json(unit: str, line: str) -> str:
    return json.dumps({"_SYSTEMD_UNIT": f"{unit}.service", "MESSAGE": line})


TWO: dict[str, Callable[[str, str], str]] = {
    "compose": lambda name, line: f"{name}-1  | {line}",
    "compose-stamped": lambda name, line: f"{name}-1  | 2026-11-21T03:50:01.1Z {line}",
    "kubectl": lambda name, line: f"[pod/{name}-0/vllm] {line}",
    "journal": lambda name, line: f"Nov 21 03:50:01 gpu-1 {name}[{47 + len(name)}]: {line}",
    "journal-of-one-program": lambda name, line: (
        f"Nov 21 03:50:01 gpu-1 vllm[{47 + len(name)}]: {line}"
    ),
    "journal-json": _json,
    "kubernetes-json": lambda name, line: json.dumps(
        {"kubernetes": {"pod_name": f"{name}-0"}, "log": f"{line}\n"}
    ),
    "stern": lambda name, line: f"{name}-7d9c engine {line}",
    "docker-journald": lambda name, line: json.dumps({"CONTAINER_NAME": name, "MESSAGE": line}),
}


def mixed(carried: Callable[[str, str], str], *logs: tuple[str, list[str]]) -> Iterable[str]:
    """Give the logs line by line in turn, as they are written at the same time."""
    rows = zip_longest(*([carried(name, line) for line in log] for name, log in logs))
    return (line for line in chain.from_iterable(rows) if line is not None)


def read(lines: Iterable[str]) -> ServicesReader:
    """Feed the lines to a new reader."""
    reader = ServicesReader(SIGNATURES)
    for line in lines:
        reader.feed(line)
    return reader


@pytest.mark.parametrize("carrier", sorted(TWO))
def test_the_one_that_failed_is_told_first_and_the_one_that_serves_serves(carrier: str) -> None:
    reader = read(mixed(TWO[carrier], ("chat", SERVES), ("embedder", FAILED)))
    first, second = reader.services()
    assert (first.diagnosis.outcome, first.diagnosis.failure) == (
        Outcome.FAILED,
        FailureClass.BAD_ARG_VALUE,
    )
    assert (second.diagnosis.outcome, second.diagnosis.failure) == (Outcome.READY, None)
    assert reader.diagnosis() == first.diagnosis
    if carrier != "journal-of-one-program":
        assert ("embed" in first.name, "chat" in second.name) == (True, True)


def test_a_service_that_another_took_along_comes_after_it() -> None:
    follower = [*LOADING.strip("\n").split("\n"), v1("EngineCore died unexpectedly", level="ERROR")]
    follower.append(DEATH_AT_START.strip("\n"))
    reader = read(mixed(TWO["compose"], ("a", follower), ("b", FAILED)))
    assert [found.name for found in reader.services()] == ["b-1", "a-1"]


def test_a_neighbour_that_is_no_engine_makes_no_second_service() -> None:
    beside = ["Traceback (most recent call last):", "ValueError: odd", "Killed"]
    reader = read(mixed(TWO["compose"], ("vllm", SERVES), ("nginx", beside)))
    assert reader.services() == ()
    assert reader.diagnosis().outcome is Outcome.READY


BESIDE = [
    "INFO:     Started server process [7]",
    "Traceback (most recent call last):",
    '  File "/app/odd/main.py", line 9, in boot',
    "odd.exc.OperationalError: unable to open database file",
    "ERROR: Application startup failed. Exiting.",
]


@pytest.mark.parametrize("carrier", ["compose", "compose-stamped", "docker-journald", "stern"])
@pytest.mark.parametrize("first", [True, False])
def test_a_neighbour_s_traceback_is_not_the_engine_s(carrier: str, *, first: bool) -> None:
    """Not even where the engine's own lines show no more than a start."""
    starting = LOADING.strip("\n").split("\n")
    logs = [("chat", starting), ("web", BESIDE)]
    reader = read(mixed(TWO[carrier], *(logs if first else reversed(logs))))
    assert (reader.diagnosis().outcome, reader.diagnosis().failure) == (Outcome.RUNNING, None)


@pytest.mark.parametrize("carrier", sorted(set(TWO) - {"stern", "journal-of-one-program"}))
def test_a_piece_is_the_engine_s_by_its_code_or_its_name(carrier: str) -> None:
    """A part of a log may hold no line in vLLM's own form."""
    frame = '  File "/opt/py/lib/python3.12/site-packages/vllm/engine/odd.py", line 9, in odd'
    by_code = ["Traceback (most recent call last):", frame, "torch.OutOfMemoryError: CUDA odd"]
    by_name = ["libodd.so: undefined symbol: odd", "Killed"]
    for name, piece in (("chat", by_code), ("vllm-chat", by_name)):
        reader = read(mixed(TWO[carrier], ("embed", SERVES), (name, piece)))
        found = reader.services()[0]
        assert (found.diagnosis.outcome, "chat" in found.name) == (Outcome.FAILED, True), carrier


def test_restarts_of_one_unit_are_runs_and_no_services() -> None:
    first = [f"Nov 21 03:50:01 gpu-1 vllm[47]: {line}" for line in FAILED]
    second = [f"Nov 21 03:52:01 gpu-1 vllm[53]: {line}" for line in SERVES]
    reader = read([*first, *second])
    assert reader.services() == ()
    assert reader.diagnosis().outcome is Outcome.READY


def test_systemd_and_the_container_engine_speak_of_the_one_that_they_name() -> None:
    lines = list(mixed(TWO["journal"], ("chat", SERVES), ("embed", SERVES)))
    died = "Main process exited, code=killed, status=9/KILL"
    reader = read([*lines, f"Nov 21 03:59:00 gpu-1 systemd[1]: embed.service: {died}"])
    outcomes = {found.name: found.diagnosis.outcome for found in reader.services()}
    assert outcomes == {"embed": Outcome.FAILED, "chat": Outcome.READY}
    compose = list(mixed(TWO["compose"], ("chat", SERVES), ("embed", SERVES)))
    reader = read([*compose, "embed-1 exited with code 137"])
    assert [found.name for found in reader.services()] == ["embed-1", "chat-1"]


def test_the_headings_of_tail_tell_two_files_apart() -> None:
    lines = ["==> /var/log/chat.log <==", *SERVES, "", "==> /var/log/embed.log <==", *FAILED]
    first, second = read(lines).services()
    assert first.name == "/var/log/embed.log"
    assert (first.diagnosis.outcome, second.diagnosis.outcome) == (Outcome.FAILED, Outcome.READY)


def test_a_journal_as_json_tells_a_neighbours_death_from_ours() -> None:
    ours = [_json("vllm", line) for line in SERVES]
    died = "Main process exited, code=killed, status=9/KILL"
    systemd = {"_SYSTEMD_UNIT": "init.scope", "SYSLOG_IDENTIFIER": "systemd"}
    beside = json.dumps({**systemd, "UNIT": "backup.service", "MESSAGE": f"backup.service: {died}"})
    assert read([*ours, beside]).diagnosis().outcome is Outcome.READY
    own = json.dumps({**systemd, "UNIT": "vllm.service", "MESSAGE": f"vllm.service: {died}"})
    assert read([*ours, own]).diagnosis().failure is FailureClass.ENGINE_DEAD


def test_more_services_than_are_followed_are_still_one_log() -> None:
    lines = [f"odd-{n}  | {line}" for n in range(40) for line in FAILED]
    assert read(lines).diagnosis().failure is FailureClass.BAD_ARG_VALUE
