# SPDX-License-Identifier: Apache-2.0
"""A command line of vLLM is read as vLLM's own parser reads it.

What stands here was seen on the parser of vLLM 0.33.0.
"""

from collections.abc import Mapping

import pytest

from agent.core.command.given import read_words
from agent.core.command.picture import picture_of_line


def value_of(line: str, name: str) -> object:
    picture = picture_of_line(["m", *line.split(" ")])
    assert picture.mistakes == ()
    assert picture.unknown == ()
    return picture.options[name].value


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("-tp 2", "tensor_parallel_size", 2),
        ("-tp=2", "tensor_parallel_size", 2),
        ("--tensor_parallel_size=2", "tensor_parallel_size", 2),
        ("--tensor-parallel-size 2", "tensor_parallel_size", 2),
        ("--tensor-par 2", "tensor_parallel_size", 2),
        ("-qawq", "quantization", "awq"),
        ("-dp 2 -ep", "enable_expert_parallel", True),
        ("--device-memory-utilization .9", "gpu_memory_utilization", 0.9),
        ("--max-model-len 32k", "max_model_len", 32_000),
        ("--max-model-len 32K", "max_model_len", 32_768),
        ("--max-model-len 25.6k", "max_model_len", 25_600),
        ("--max-model-len auto", "max_model_len", -1),
        ("--max-model-len -1", "max_model_len", -1),
        ("--kv-cache-memory-bytes 8G", "kv_cache_memory_bytes", 8 * 2**30),
        ("--kv-cache-memory-bytes 8g", "kv_cache_memory_bytes", 8 * 10**9),
        ("--max-loras None", "max_loras", None),
        ("--served-model-name a b --seed 1", "served_model_name", ("a", "b")),
        ("-O3", "optimization_level", "3"),
        ("-O.mode=3", "compilation_config", {"mode": 3}),
        ("-O.level 2", "compilation_config", {"level": 2}),
        ("--cpu-offload-gb 40", "cpu_offload_gb", 40.0),
        ('--speculative-config {"model":"d"}', "speculative_config", {"model": "d"}),
        ("--kv-transfer-config.size 80m", "kv_transfer_config", {"size": 80_000_000}),
        ('--speculative-config {"size":80g}', "speculative_config", {"size": 80 * 10**9}),
    ],
)
def test_an_option_is_read_in_every_spelling(line: str, name: str, value: object) -> None:
    assert value_of(line, name) == value


@pytest.mark.parametrize(
    ("word", "name", "value"),
    [
        ("--no-enable-prefix-caching", "enable_prefix_caching", False),
        ("--disable-prefix-caching", "enable_prefix_caching", False),
        ("--enable-prefix-caching", "enable_prefix_caching", True),
        ("--disable-log-requests", "enable_log_requests", False),
        ("--enable-custom-all-reduce", "disable_custom_all_reduce", False),
        ("--no-disable-custom-all-reduce", "disable_custom_all_reduce", False),
        ("--disable-custom-all-reduce", "disable_custom_all_reduce", True),
        ("--no-enforce-eager", "enforce_eager", False),
        ("--no_async_scheduling", "async_scheduling", False),
        ("--enable-prefix-caching=False", "enable_prefix_caching", False),
    ],
)
def test_a_negative_turns_its_switch_off(word: str, name: str, value: bool) -> None:
    assert value_of(word, name) is value


def test_of_one_option_given_twice_the_later_holds() -> None:
    assert value_of("-tp 2 --tensor-parallel-size=4", "tensor_parallel_size") == 4
    assert value_of("--enable-lora --no-enable-lora", "enable_lora") is False


def test_json_keys_given_apart_are_one_table_and_replace_the_json() -> None:
    line = '--speculative-config {"model":"x"} -sc.method eagle --speculative-config.a.b+ x,y'
    table = value_of(line, "speculative_config")
    assert table == {"method": "eagle", "a": {"b": ["x", "y"]}}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--max-model-len 24GB", "--max-model-len: '24GB' is not a whole number"),
        ("--max-model-len 2.5K", "or write 2.5k"),
        ("--max-model-len", "--max-model-len has no value"),
        ("--max-num-seqs 32k", "is not a whole number"),
        ("--gpu-memory-utilization nan", "is not a number"),
        ("--speculative-config {bad", "is not JSON"),
        ("--enable-prefix-caching=maybe", "stands behind a switch"),
        ("--enable-lo", "--enable-lo could be --enable-log-deltas, --enable-log-outputs"),
        ("other", "'other' stands where no argument is taken"),
        ("--config=a.yaml", "vLLM reads no file then"),
        ("--config a.toml", "ends in .yaml or .yml"),
        ("--config", "--config has no file"),
        ("--config a.yml --config b.yml", "given twice"),
    ],
)
def test_what_vllm_refuses_or_forgets_is_a_mistake(line: str, said: str) -> None:
    mistakes = read_words(["m", *line.split(" ")]).mistakes
    assert any(said in mistake for mistake in mistakes), mistakes


def test_an_option_of_no_known_release_is_named() -> None:
    read = read_words(["m", "--enable-telepathy", "--fork-bombs", "3", "-zz=1", "--qq.a", "1"])
    assert read.unknown == ("--enable-telepathy", "--fork-bombs", "-zz", "--qq")
    assert read.mistakes == ()


def test_a_value_that_vllm_refuses_leaves_the_option_named() -> None:
    (given,) = read_words(["--port=x"]).options
    assert (given.name, given.value) == ("port", None)


def test_a_table_is_a_table_and_a_word_is_none() -> None:
    picture = picture_of_line(["m", "--limit-mm-per-prompt", '{"image": 0}', "--hf-overrides", "f"])
    assert picture.table("limit_mm_per_prompt") == {"image": 0}
    assert picture.table("hf_overrides") == {}
    assert isinstance(picture.table("hf_overrides"), Mapping)
    assert picture.text("model") == "m"


def test_an_option_of_older_releases_is_no_abbreviation_of_newer_ones() -> None:
    read = read_words(["org/m", "--device", "cuda", "--worker-use-ray", "--dtype", "half"])
    assert (read.mistakes, read.unknown) == ((), ())
    assert [(given.name, given.value) for given in read.options] == [
        ("device", "cuda"),
        ("worker_use_ray", True),
        ("dtype", "half"),
    ]
