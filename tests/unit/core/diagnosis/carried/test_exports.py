# SPDX-License-Identifier: Apache-2.0
"""The same log as shippers and search pages export it: the answer is that of the plain log."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from agent.core.failures.classes import FailureClass as F
from tests.given.engine_logs import diagnose, died_in

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
