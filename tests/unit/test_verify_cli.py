# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import replace

from agent.cli.verify import Report, as_json, as_text, render_table
from agent.core.check import Check, Verdict
from tests.unit.some_snapshot import CHECKS

PROVEN, CONTRADICTED, UNKNOWN = CHECKS
REPORT = Report("vllm", "vllm.service", "http://127.0.0.1:8000", answered=True, checks=(PROVEN,))


def test_the_table_shows_each_item_with_its_evidence_and_note() -> None:
    assert render_table(CHECKS, colour=False).splitlines() == [
        "VERDICT       ITEM                ASKED   GOT",
        "proven        quantization        awq     auto_awq",
        "              | quantization=auto_awq",
        "contradicted  linear_kernel       marlin  CPUWNA16LinearKernel",
        "              | Using CPUWNA16LinearKernel for AutoAWQMarlinLinearMethod",
        "              not proven: kernel is CPUWNA16LinearKernel",
        "unknown       kv_bytes_per_token  fp8     not known",
        "              the model's config.json was not read",
    ]


def test_colour_paints_the_verdict_only() -> None:
    [_, row, *_] = render_table((PROVEN,), colour=True).splitlines()
    assert row == "\x1b[32mproven\x1b[0m   quantization  awq    auto_awq"


def test_a_long_line_of_evidence_is_shortened() -> None:
    check = replace(PROVEN, evidence="x" * 1000)
    assert max(len(line) for line in render_table((check,), colour=False).splitlines()) < 180


def test_unknown_is_not_a_contradiction_but_is_counted() -> None:
    report = replace(REPORT, checks=(PROVEN, UNKNOWN))
    assert report.verified
    last = as_text(report, colour=False).splitlines()[-1]
    assert last == "verified: 1 proven, 0 contradicted, 1 unknown"


def test_one_contradiction_or_a_silent_model_is_not_verified() -> None:
    assert not replace(REPORT, checks=CHECKS).verified
    silent = replace(REPORT, answered=False)
    assert not silent.verified
    assert "not verified: the model answers no request" in as_text(silent, colour=False)


def test_a_setting_that_waits_for_the_next_start_is_named() -> None:
    report = replace(REPORT, pending=("max_model_len",))
    assert "max_model_len: in force at the next start" in as_text(report, colour=False)


def test_the_json_has_every_part_of_every_check() -> None:
    document = json.loads(as_json([replace(REPORT, checks=CHECKS)]))
    service = document["services"]["vllm"]
    assert (service["answered"], service["verified"]) == (True, False)
    assert [Check(**{**one, "verdict": Verdict(one["verdict"])}) for one in service["checks"]] == [
        *CHECKS
    ]
