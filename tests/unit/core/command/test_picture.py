# SPDX-License-Identifier: Apache-2.0
"""Keys, extra_args, the file of --config and the environment give one picture."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.command.escapes import ESCAPES, escapes, refusals
from agent.core.command.given import Place, read_words
from agent.core.command.options import ALSO, KINDS, SHORT, Kind
from agent.core.command.parallel import parallel_of
from agent.core.command.picture import file_arguments, forgotten, picture_of, picture_of_line
from agent.core.command.spelling import negatives_of, option_named
from agent.core.engine.command_line import FLAGS
from agent.core.settings.service import Settings

VALUES = {
    Kind.WHOLE: ("3", 3),
    Kind.SIZE: ("4K", 4096),
    Kind.LENGTH: ("32k", 32_000),
    Kind.REAL: ("0.5", 0.5),
    Kind.TABLE: ('{"a": 1}', {"a": 1}),
    Kind.MANY: ("x", ("x",)),
    Kind.TEXT: ("word", "word"),
}
NAMES = sorted(KINDS.keys() - {"model", "config"})


def spellings(name: str, how: random.Random) -> list[str]:
    """Return one of the ways in which an option is written, with its value where it takes one."""
    others = [short for short, own in SHORT.items() if own == name]
    others += [f"--{also}" for also, own in ALSO.items() if own == name]
    flag = how.choice([f"--{name}", f"--{name.replace('_', '-')}", *others])
    if KINDS[name] in (Kind.PAIRED, Kind.ALONE):
        return [flag]
    value, _ = VALUES[KINDS[name]]
    return how.choice([[flag, value], [f"{flag}={value}"]])


@given(st.sets(st.sampled_from(NAMES), max_size=8), st.randoms(use_true_random=False))
def test_any_order_and_spelling_of_the_same_options_gives_the_same_picture(
    names: set[str], how: random.Random
) -> None:
    groups = [spellings(name, how) for name in sorted(names)]
    how.shuffle(groups)
    picture = picture_of_line(["org/model", *(word for group in groups for word in group)])
    expected: dict[str, object] = {"model": "org/model"}
    for name in names:
        expected[name] = VALUES.get(KINDS[name], ("", True))[1]
    assert {name: found.value for name, found in picture.options.items()} == expected
    assert (picture.mistakes, picture.unknown) == ((), ())


@given(st.sampled_from([name for name in NAMES if KINDS[name] is Kind.PAIRED]))
def test_every_negative_of_every_switch_turns_it_off(name: str) -> None:
    for negative in negatives_of(name):
        picture = picture_of_line(["m", f"--{name}", f"--{negative.replace('_', '-')}"])
        assert picture.switch(name) is False


@given(st.text(max_size=12).map(lambda text: f"--{text}"))
def test_whatever_stands_there_is_read_without_an_exception(word: str) -> None:
    read_words([word, word, "-", "--", "-1", "x", word])
    option_named(word.split("=", 1)[0])


def settings(*extra_args: str, **keys: object) -> Settings:
    return Settings("vllm", "org/m", extra_args=extra_args, **keys)  # type: ignore[arg-type]


def test_keys_and_arguments_are_one_picture() -> None:
    picture = picture_of(settings("-dp", "2", "-ep", tensor_parallel_size=4, port=8001))
    assert picture.whole("tensor_parallel_size") == 4
    assert picture.options["tensor_parallel_size"].place is Place.KEY
    assert picture.whole("data_parallel_size") == 2
    assert picture.switch("enable_expert_parallel") is True
    assert picture.whole("port") == 8001
    assert not picture.asks("max_model_len")


def test_the_file_of_config_gives_way_to_the_rest() -> None:
    content = {"max-num-seqs": 64, "max-model-len": "16k", "enable-lora": True}
    picture = picture_of(settings("--config", "/a.yaml", max_num_seqs=32), content)
    assert picture.config_file == "/a.yaml"
    assert picture.whole("max_num_seqs") == 32
    assert picture.whole("max_model_len") == 16_000
    assert picture.options["enable_lora"].place is Place.CONFIG_FILE
    line = picture_of_line(["m", "--max-model-len", "8K"], {}, content)
    assert line.whole("max_model_len") == 8192


def test_false_in_a_file_counts_as_vllm_reads_it() -> None:
    content = {"enable-prefix-caching": False, "enable_chunked_prefill": False, "headless": False}
    options = {item.name: item.value for item in file_arguments(content).options}
    assert options == {"enable_prefix_caching": False}
    assert forgotten(content) == ("enable_chunked_prefill",)


def test_lists_and_tables_of_a_file_are_values() -> None:
    content = {
        "speculative-config": {"model": "d", "num_speculative_tokens": 3},
        "served-model-name": ["a", "b"],
        "lora-modules": [],
        "seed": -1,
    }
    options = {item.name: item.value for item in file_arguments(content).options}
    assert options == {
        "speculative_config": {"model": "d", "num_speculative_tokens": 3},
        "served_model_name": ("a", "b"),
        "seed": -1,
    }


@pytest.mark.parametrize(
    ("line", "gpus"),
    [
        ("", 1),
        ("-tp 2 -pp 2", 4),
        ("-tp 2 -dp 4", 8),
        ("-dp 8 --data-parallel-size-local 4", 4),
        ("-dp 8 --data-parallel-rank 3 -tp 2", 2),
        ("-dp 2 --data-parallel-size-local 0", 0),
        ("-tp 8 -dcp 8", 8),
        ("-tp 4 -pcp 2", 8),
        ("-tp 16 --nnodes 2 --node-rank 0", 8),
    ],
)
def test_the_gpus_of_a_line_are_counted(line: str, gpus: int) -> None:
    assert parallel_of(picture_of_line(["m", *line.split()])).gpus == gpus


def test_replicas_that_the_environment_asks_for_are_counted() -> None:
    parallel = parallel_of(picture_of_line(["m"], {"VLLM_DP_SIZE": "4"}))
    assert (parallel.data, parallel.gpus) == (4, 4)
    ranked = parallel_of(picture_of_line(["m"], {"VLLM_DP_SIZE": "4", "VLLM_DP_RANK": "0"}))
    assert (ranked.data, ranked.gpus) == (4, 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--por=9000"], "has a key of its own here: port"),
        (["--device_memory_utilization", "0.9"], "key of its own here: gpu_memory_utilization"),
        (["--disable-prefix-caching"], "key of its own here: enable_prefix_caching"),
        (["-tp", "2"], "key of its own here: tensor_parallel_size"),
        (["--headless"], "open no port"),
        (["--grpc"], "no HTTP"),
        (["--api-key"], "use api_key_file"),
        (["--device-ids", "0,1"], "use gpus"),
        (["--uds=/run/x"], "has a key of its own here: uds"),
    ],
)
def test_what_would_escape_the_agent_is_refused_in_every_spelling(
    words: list[str], said: str
) -> None:
    (sentence,) = refusals(read_words(words).options)
    assert said in sentence
    assert sentence.startswith(words[0].split("=")[0])


def test_what_stays_in_the_agents_hands_is_not_refused() -> None:
    words = ["--seed", "1", "--enable-lora", "--max-loras=4", "-sc", '{"method": "ngram"}']
    assert refusals(read_words(words).options) == ()
    assert escapes(read_words(["--no-enable-ssl-refresh"]).options) == ()


def test_every_escape_and_every_key_that_is_a_flag_is_an_option_of_vllm() -> None:
    assert KINDS.keys() >= ESCAPES.keys()
    assert KINDS.keys() >= FLAGS.keys()
