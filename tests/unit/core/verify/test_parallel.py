# SPDX-License-Identifier: Apache-2.0
"""How many engines serve, and how each is split, against what was asked in any place."""

from __future__ import annotations

from typing import Any

import pytest

from agent.core.diagnosis.facts import Facts
from agent.core.diagnosis.reader import LogReader
from agent.core.engine.answers import ApiFacts
from agent.core.settings.service import Settings
from agent.core.verify.check import Verdict
from agent.core.verify.parallel import parallel
from agent.host.data.signatures import load_signatures

CONFIG_LINE = (
    "(EngineCore pid=9) INFO 11-29 00:00:00 [core.py:133] Initializing a V1 LLM engine (v0.32.0)"
    " with config: model='/srv/m', max_seq_len=1024, tensor_parallel_size=2,"
    " pipeline_parallel_size=1, data_parallel_size=1, quantization=None"
)


def found(log: Facts, engines: tuple[str, ...], **asked: Any) -> dict[str, tuple[str, str, str]]:
    settings = Settings("vllm", "/srv/m", **asked)
    checks = parallel(settings, None, log, ApiFacts(engines=engines))
    return {c.item: (c.asked, c.got, c.verdict.value) for c in checks if c is not None}


def said(line: str) -> Facts:
    reader = LogReader(load_signatures())
    reader.feed(line)
    return reader.facts


@pytest.mark.parametrize(
    "asked",
    [
        {"data_parallel_size": 2},
        {"extra_args": ("--data-parallel-size", "2")},
        {"extra_args": ("-dp=2",)},
        {"environment": {"VLLM_DP_SIZE": "2"}},
    ],
    ids=str,
)
def test_each_engine_that_was_asked_for_is_counted_wherever_it_was_asked(
    asked: dict[str, Any],
) -> None:
    log = said(CONFIG_LINE)
    assert found(log, ("0", "1"), **asked) == {"data_parallel_size": ("2", "2", "proven")}
    assert found(log, ("0",), **asked) == {"data_parallel_size": ("2", "1", "contradicted")}
    assert found(log, (), **asked)["data_parallel_size"][2] == "unknown"


def test_what_nobody_asked_for_is_no_item() -> None:
    assert found(said(CONFIG_LINE), ("0",)) == {}


@pytest.mark.parametrize(
    ("extra", "wanted"),
    [
        (("--data-parallel-size-local=2", "--data-parallel-hybrid-lb"), "2"),
        (("--data-parallel-rank=3",), "1"),
        (("--data-parallel-external-lb", "--data-parallel-rank=3"), "1"),
        (("--data-parallel-size-local=2", "--data-parallel-address=10.0.0.1"), "8"),
    ],
    ids=str,
)
def test_a_front_end_that_has_some_of_the_engines_need_show_no_others(
    extra: tuple[str, ...], wanted: str
) -> None:
    engines = tuple(map(str, range(int(wanted))))
    item = found(Facts(), engines, data_parallel_size=8, extra_args=extra)["data_parallel_size"]
    assert item == (wanted, wanted, "proven")


def test_how_one_engine_is_split_is_told_by_its_own_configuration_line() -> None:
    log = said(CONFIG_LINE)
    assert found(log, ("0",), tensor_parallel_size=2)["tensor_parallel_size"][2] == "proven"
    assert found(log, ("0",), tensor_parallel_size=4) == {
        "tensor_parallel_size": ("4", "2", "contradicted")
    }
    assert found(Facts(), ("0",), extra_args=("-pp", "2")) == {
        "pipeline_parallel_size": ("2", "not known", "unknown")
    }


def test_each_verdict_has_its_evidence() -> None:
    settings = Settings("vllm", "/srv/m", data_parallel_size=2)
    (check,) = parallel(settings, None, Facts(), ApiFacts(engines=("0", "1")))
    assert check is not None
    assert check.verdict is Verdict.PROVEN
    assert check.evidence == "/metrics has engines 0, 1"
