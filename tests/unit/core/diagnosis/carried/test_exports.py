# SPDX-License-Identifier: Apache-2.0
"""The same log as shippers and search pages export it: the answer is that of the plain log."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from agent.core.diagnosis.carried.services import ServicesReader
from agent.core.failures.classes import FailureClass as F
from tests.given.engine_logs import SIGNATURES, diagnose, died_in

AT = "2026-11-20T03:05:01.123456789Z"
DEATH = died_in(
    "vllm/v1/worker/gpu_model_runner.py:profile_run",
    "vllm/model_executor/models/odd_eagle.py:forward",
    exception="AssertionError",
)

CARRIED: dict[str, Callable[[str], str]] = {
    "OpenTelemetry": lambda line: json.dumps({"Timestamp": AT, "Body": line}),
    "OTLP": lambda line: json.dumps({"timeUnixNano": "17", "body": {"stringValue": line}}),
    "Splunk": lambda line: json.dumps({"_time": AT, "_raw": line}),
    "Loki": lambda line: json.dumps({"stream": {"app": "vllm"}, "values": [["17", line]]}),
    "CSV": lambda line: f'"{AT}","{line.replace(chr(34), chr(34) * 2)}"',
    "rsyslog": lambda line: f"Nov 20 03:05:01 gpu-1 vllm[77]: {line}#015",
    "mpirun": lambda line: f"[1,3]<stderr>:{line}",
    "pm2": lambda line: f"0|vllm  | {line}",
}


@pytest.mark.parametrize("carry", CARRIED.values(), ids=CARRIED.keys())
def test_an_export_has_the_answer_of_the_plain_log(carry: Callable[[str], str]) -> None:
    plain = diagnose(DEATH)
    carried = diagnose([carry(line) for line in DEATH.strip("\n").split("\n")])
    assert plain.failure is F.ENGINE_BUG
    assert (carried.failure, carried.place) == (plain.failure, plain.place)


@pytest.mark.parametrize("name", ["CSV", "mpirun", "pm2"])
def test_a_known_prefix_needs_no_line_in_vllms_own_form(name: str) -> None:
    said = "ValueError: Ray does not allocate any GPUs on the driver node."
    assert diagnose([CARRIED[name](said)]).failure is F.RAY_NODES_MISSING


BEFORE = {
    "a mail": "> ",
    "a list": "    ",
    "a table": "2026-11-20T03:05:01Z\tinference-0\t",
    "CloudWatch": "2026-11-20T03:05:01.123Z inference/main/0a1b2c ",
    "a job of CI": "serve\tRun the engine\t2026-11-20T03:05:01.123Z ",
}


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE.keys())
def test_what_stands_before_a_traceback_stands_before_its_frames(before: str) -> None:
    """So a piece without any line in vLLM's own form is read behind a prefix nobody knows."""
    bare = [
        "Traceback (most recent call last):",
        '  File "/opt/vllm/lib/python3.12/site-packages/vllm/v1/worker/odd.py", line 7, in run',
        "    assert done",
        "AssertionError",
    ]
    plain, carried = diagnose(bare), diagnose([f"{before}{line}" for line in bare])

    assert plain.failure is F.ENGINE_BUG
    assert (carried.failure, carried.place) == (plain.failure, plain.place)


def test_words_before_a_traceback_teach_nothing_once_the_engine_has_spoken() -> None:
    spoken = "(EngineCore pid=9) INFO 11-20 03:05:01 [core.py:97] Initializing a V1 LLM engine"
    odd = ["odd> Traceback (most recent call last):", "odd> torch.OutOfMemoryError: CUDA odd"]

    assert diagnose([spoken, *odd]).failure is None


def test_a_whole_log_may_come_as_one_json_string() -> None:
    reader = ServicesReader(SIGNATURES)
    reader.feed_text(json.dumps(DEATH) + "\n")

    assert reader.diagnosis().failure is diagnose(DEATH).failure is F.ENGINE_BUG


@pytest.mark.parametrize("raw", ['"', '""', '"odd', '"\\ud800"', '"' + "[" * 9_000 + '"'])
def test_what_only_looks_like_a_json_string_is_a_line(raw: str) -> None:
    reader = ServicesReader(SIGNATURES)
    reader.feed(raw)

    assert reader.diagnosis().failure is None
