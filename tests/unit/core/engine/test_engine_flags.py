# SPDX-License-Identifier: Apache-2.0
"""Flags by the engine's own help, and what became of the others."""

import pytest

from agent.core.engine.flags import ADDED, REMOVED, parse_help, unknown_by_version, unknown_flags
from tests.given.yardstick import yardsticks

HELP = """usage: vllm serve [model_tag] [options]

Frontend:
  --host HOST           Host name. Was once set by --hostname. (default: None)
  --disable-log-stats, --no-disable-log-stats
                        Disable logging statistics, unlike --disable-log-requests did.
  --tensor-parallel-size TENSOR_PARALLEL_SIZE, -tp TENSOR_PARALLEL_SIZE
                        Number of groups.
  --max-num-seqs MAX_NUM_SEQS
                        Maximum number of sequences.
  --kv-cache-dtype {auto,fp8}
  -h, --help            show this help message and exit
"""


def test_all_long_flags_are_found_and_those_in_descriptions_are_not() -> None:
    assert parse_help(HELP) == {
        "--host",
        "--disable-log-stats",
        "--no-disable-log-stats",
        "--tensor-parallel-size",
        "--max-num-seqs",
        "--kv-cache-dtype",
        "--help",
    }


def test_known_flags_are_known_in_every_form_that_vllm_takes() -> None:
    argv = ["python", "--host=x", "--max_num_seqs", "4", "-tp", "2", "--kv-cache-dtype.a", "--"]
    assert unknown_flags(argv, parse_help(HELP)) == ()


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--max-num-sequence=4", "did you mean --max-num-seqs?"),
        ("--swap-space", "it was removed in 0.18; leave it out"),
        ("--task=embed", "it was removed in 0.13; use --runner and --convert"),
        ("--shutdown-timeout=30", "it came with 0.18; upgrade vLLM or leave it out"),
        ("--qqqq", "leave it out"),
    ],
)
def test_an_unknown_flag_is_told_with_what_to_do(flag: str, said: str) -> None:
    (unknown,) = unknown_flags(["x", flag], parse_help(HELP))
    assert unknown.flag == flag.split("=")[0]
    assert said in str(unknown)


def test_a_flag_given_twice_is_told_once() -> None:
    assert len(unknown_flags(["--qqqq", "--qqqq=1"], parse_help(HELP))) == 1


@pytest.mark.parametrize(
    ("flag", "version", "unknown"),
    [
        ("--swap-space", "0.17.1", False),
        ("--swap-space", "0.18.1", True),
        ("--shutdown-timeout", "0.17.1", True),
        ("--shutdown-timeout", "0.18.1", False),
        ("--kv-cache-memory-bytes", "0.10.1", True),
        ("--anything-else", "0.32.0", False),
        ("-O.mode=3", "0.12.0", False),
        ("-O.mode=3", "0.13.0", True),
        ("-O3", "0.32.0", False),
        ("--shutdown-timeout", "0.1.dev7+gabc", False),
    ],
)
def test_without_help_the_version_tells(flag: str, version: str, unknown: bool) -> None:
    assert bool(unknown_by_version([flag], version)) is unknown


def test_no_flag_is_both_added_and_removed() -> None:
    assert not ADDED.keys() & REMOVED.keys()


HELP_OF_33 = """
  --enable-prefix-caching, --disable-prefix-caching
  --disable-cascade-attn, --enable-cascade-attn
  --enforce-eager, --no-enforce-eager
  --max-num-seqs MAX_NUM_SEQS
  --max-num-batched-tokens MAX_NUM_BATCHED_TOKENS
"""
"""Lines of `--help=all` of vLLM 0.33, which hides --no-enable-x and --no-disable-x."""


@pytest.mark.parametrize(
    "flag",
    [
        "--no-enable-prefix-caching",
        "--no_enable_prefix_caching",
        "--disable-prefix-caching",
        "--no-disable-cascade-attn",
        "--enable-cascade-attn",
        "--no-enforce-eager",
        "--max-num-s=4",
    ],
)
def test_what_the_help_of_033_hides_and_its_parser_takes_is_known(flag: str) -> None:
    assert unknown_flags([flag], parse_help(HELP_OF_33)) == ()


@pytest.mark.parametrize("flag", ["--no-max-num-seqs", "--no-enable-lora", "--max-num"])
def test_what_the_parser_of_033_refuses_is_unknown(flag: str) -> None:
    assert [unknown.flag for unknown in unknown_flags([flag], parse_help(HELP_OF_33))] == [flag]


def test_a_flag_that_came_back_is_known_again() -> None:
    assert unknown_by_version(["--disable-log-requests"], "0.33.0") == ()
    assert unknown_by_version(["--disable-log-requests"], "0.32.0") != ()


def test_a_help_text_of_blanks_takes_no_time() -> None:
    assert yardsticks(lambda: parse_help(" " * 32_768), 4) <= 4
