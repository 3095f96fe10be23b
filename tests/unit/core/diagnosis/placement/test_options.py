# SPDX-License-Identifier: Apache-2.0
"""A refused value is told by the name of its option, and nothing that is no option is named."""

from __future__ import annotations

import pytest

from agent.core.diagnosis.placement.options import options_named, what_to_do
from agent.core.failures.classes import FailureClass
from tests.given.engine_logs import diagnose, failed


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("ValueError: LoRA rank 96 is greater than max_lora_rank 32.", ("max_lora_rank",)),
        ("ValueError: odd_size=3 must divide ep_size=4. Adjust num_odd.", ("num_odd",)),
        ("AssertionError: odd needs DS. Set VLLM_ODD_LAYOUT=DS", ("VLLM_ODD_LAYOUT=DS",)),
        ("ValueError: --odd-backend low requires --enable-odd", ("--odd-backend", "--enable-odd")),
        ("  Value error, Odd pages (3). [type=value_error, input_value=ArgsKwargs(())]", ()),
        ("ValueError: Failed on data={'text': '<|begin_of_odd|>'}", ()),
        ('KeyError: "invalid odd parser: odd_three (chose from { odd_one,odd_two })"', ()),
        ("ValueError: no such thing as /srv/some_model/a_file.json", ()),
    ],
)  # fmt: skip
def test_the_options_that_an_exception_names_are_found(words: str, names: tuple[str, ...]) -> None:
    assert options_named(words) == names


def test_only_a_refused_value_is_told_by_its_option() -> None:
    words = "ValueError: odd_size must be set"
    assert what_to_do(FailureClass.BAD_ARG_VALUE, words) == "Correct what the line names: odd_size."
    assert "odd_size" not in what_to_do(FailureClass.ENGINE_BUG, words)


def test_the_sentence_of_a_diagnosis_names_the_option() -> None:
    refused = (
        "1 validation error for OddConfig\n  Value error, odd_size must be set [type=value_error"
    )
    found = diagnose(f"pydantic_core._pydantic_core.ValidationError: {refused}")
    assert found.advice.endswith("Correct what the line names: odd_size.")


def test_a_reason_is_told_without_what_its_list_of_choices_left_open() -> None:
    line = "KeyError: 'odd parser: muse-1 (chose from { hermes,muse_1 })'"
    told = what_to_do(FailureClass.BAD_ARG_VALUE, line)
    assert told == "Correct what it refuses: odd parser: muse-1."


@pytest.mark.parametrize(
    ("line", "failure", "named"),
    [
        (
            "vllm: error: unrecognized arguments: --odd-config {}",
            FailureClass.UNKNOWN_ARG,
            "--odd-config",
        ),
        (
            "vllm: error: argument --odd: invalid choice: 'three' (choose from 'one', 'two')",
            FailureClass.BAD_ARG_VALUE,
            "'three' is none of the values that there are: 'one', 'two'.",
        ),
        (
            "PermissionError: [Errno 13] Permission denied: '/srv/odd/cache'",
            FailureClass.CACHE_NOT_WRITABLE,
            "write /srv/odd/cache:",
        ),
        (
            "PermissionError: [Errno 13] Permission denied: '/.odd'",
            FailureClass.CACHE_NOT_WRITABLE,
            "set HOME",
        ),
        (
            "OSError: [Errno 30] Read-only file system: '/models/odd'",
            FailureClass.CACHE_NOT_WRITABLE,
            "write /models/odd:",
        ),
        (
            "ValueError: User-specified max_model_len (9000) is greater than the derived "
            "max_model_len (sliding_window=4096 or model_max_length=8192 in model's config.json).",
            FailureClass.MAX_MODEL_LEN_TOO_BIG,
            "to 4096, for which the model was made (sliding_window",
        ),
        (
            "ValueError: Total number of attention heads (28) must be divisible by tensor parallel "
            "size (8).",
            FailureClass.TP_NOT_DIVISIBLE,
            "divides its 28 attention heads: 1, 2, 4, 7.",
        ),
        (
            "  Value error, World size (8) is larger than the number of available GPUs (4) in this "
            "node.",
            FailureClass.TP_NOT_DIVISIBLE,
            "8 GPUs are asked for and 4 are there",
        ),
        (
            "ValueError: The quantization method odd is not supported for the current GPU. "
            "Minimum capability: 100. Current capability: 89.",
            FailureClass.QUANT_UNSUPPORTED_DEVICE,
            "needs compute capability 10.0 and this GPU has 8.9",
        ),
        (
            "ValueError: The output_size of odd weight = 192 is not divisible by weight "
            "quantization block_n = 128.",
            FailureClass.TP_NOT_DIVISIBLE,
            "part of these weights (192) must be a multiple of 128",
        ),
        (
            "ValueError: LoRA rank 96 is greater than max_lora_rank 32.",
            FailureClass.BAD_ARG_VALUE,
            "Raise max_lora_rank from 32 to 96",
        ),
        (
            "Worker proc VllmWorker-1 died unexpectedly (exit code: -9), shutting down executor.",
            FailureClass.WORKER_DIED,
            "killed from outside (SIGKILL)",
        ),
        (
            "  Value error, Odd only supports `mp` and `odd_launcher`, but you chose `ray`.",
            FailureClass.BAD_ARG_VALUE,
            "only supports `mp`",
        ),
        (
            "ModuleNotFoundError: No module named 'oddsound.io'",
            FailureClass.PACKAGE_MISMATCH,
            "the module oddsound is not installed",
        ),
        (
            "ImportError: /opt/vllm/lib/python3.12/site-packages/odd_attn.cpython-312.so: "
            "undefined symbol: _ZN3c105ErrorC2E",
            FailureClass.PACKAGE_MISMATCH,
            "odd_attn was built for another torch",
        ),
    ],
)
def test_the_sentence_names_what_the_line_names(
    line: str, failure: FailureClass, named: str
) -> None:
    found = diagnose(line)
    assert found.failure is failure
    assert named in found.advice


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "Odd decoding requires PP=1 because its ranks see no odd_ids. Please run with PP=1.",
            "run with PP=1.",
        ),
        (
            "odd_rank must be below 4; got 7. Set it to this node's index. [type=value_error, inp",
            "set it to this node's index (odd_rank).",
        ),
        (
            "Odd threads need a cache; please set --odd-cache 2 (e.g. 0.5 GiB), or unset odd_one.",
            "set --odd-cache 2 (e.g. 0.5 GiB), or unset odd_one.",
        ),
    ],
)
def test_what_a_text_asks_of_its_reader_is_told_in_its_own_words(words: str, told: str) -> None:
    for line in (f"ValueError: {words}", f"  Value error, {words}"):
        said = what_to_do(FailureClass.BAD_ARG_VALUE, line)
        assert said == f"Do what the line says: {told}"


@pytest.mark.parametrize(
    "words",
    [
        "ValueError: pass odd_one should be callable",
        "AssertionError: odd_size must be set by now",
        f"ValueError: {'odd ' * 100}odd_one. Set it to what",
    ],
)
def test_what_asks_for_nothing_or_may_be_cut_is_told_by_its_names(words: str) -> None:
    assert what_to_do(FailureClass.BAD_ARG_VALUE, words).startswith("Correct what ")


def test_a_cause_that_is_cut_off_is_looked_for_above() -> None:
    said = "RuntimeError: Engine core initialization failed. See root cause above. Failed core"
    cut, whole = diagnose(f"(APIServer pid=1) {said}"), diagnose(failed("OddError: odd"))

    assert "earlier line" in cut.advice
    assert (whole.failure, "earlier line" in whole.advice) == (FailureClass.UNKNOWN, False)
