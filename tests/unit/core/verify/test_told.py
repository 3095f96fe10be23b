# SPDX-License-Identifier: Apache-2.0
"""What stands in `extra_args` or in the file of --config is verified as what a key says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from agent.core.diagnosis.facts import Facts
from agent.core.engine.answers import ApiFacts
from agent.core.settings.service import Expectations, Settings
from agent.core.verify.check import Check, Verdict
from agent.core.verify.items import verify
from agent.core.verify.told import as_told


def facts(**values: object) -> Facts:
    return Facts(**values, proofs={name: f"line of {name}" for name in values})  # type: ignore[arg-type]


LOG = facts(
    quantization="fp8",
    kv_cache_dtype="fp8",
    max_model_len=8192,
    max_num_seqs=8,
    enable_prefix_caching=False,
    enable_chunked_prefill=True,
)


def checked(
    item: str, *extra_args: str, file: Mapping[str, Any] | None = None, **keys: Any
) -> Check:
    settings = Settings("vllm", "m", extra_args=extra_args, **keys)
    found = verify(settings, Expectations(), LOG, ApiFacts(), options_file=file)
    return next(check for check in found if check.item == item)


@pytest.mark.parametrize(
    ("item", "file"),
    [
        ("max_model_len", {"max-model-len": 8192}),
        ("max_num_seqs", {"max-num-seqs": 8}),
        ("quantization", {"quantization": "fp8"}),
        ("kv_cache_dtype", {"kv_cache_dtype": "fp8"}),
        ("prefix_caching", {"no-enable-prefix-caching": True}),
    ],
)
def test_a_value_of_the_file_is_proven(item: str, file: dict[str, Any]) -> None:
    assert checked(item, "--config", "/etc/vllm.yaml", file=file).verdict is Verdict.PROVEN


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("max_model_len", ("--max-model-len", "16k")),
        ("max_num_seqs", ("--max-num-seqs=16",)),
        ("quantization", ("-q", "awq")),
        ("prefix_caching", ("--enable-prefix-caching",)),
    ],
)
def test_a_value_of_the_extra_arguments_is_contradicted(item: str, words: tuple[str, ...]) -> None:
    assert checked(item, *words).verdict is Verdict.CONTRADICTED


def test_of_several_places_the_last_that_vllm_reads_counts() -> None:
    """A key stands over the file, the extra arguments over the key."""
    file = {"max-num-seqs": 64}
    words = ("--config", "/etc/vllm.yaml")
    assert checked("max_num_seqs", *words, file=file, max_num_seqs=8).verdict is Verdict.PROVEN
    more = (*words, "--max-num-seqs", "8")
    assert checked("max_num_seqs", *more, file=file, max_num_seqs=4).verdict is Verdict.PROVEN


def test_a_file_that_was_not_read_asks_for_nothing() -> None:
    settings = Settings("vllm", "m", max_num_seqs=8, extra_args=("--config", "/etc/vllm.yaml"))
    assert as_told(settings, None) == settings


def test_settings_without_extra_arguments_are_what_they_are() -> None:
    settings = Settings("vllm", "m", max_num_seqs=8, tensor_parallel_size=2)
    assert as_told(settings, None) is settings
