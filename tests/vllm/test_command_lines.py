# SPDX-License-Identifier: Apache-2.0
"""Command lines in all spellings, read by the real parser of vLLM and by ours."""

from __future__ import annotations

import json
import random
import subprocess
from typing import Any

import pytest

from agent.core.command.options import ALSO, KINDS, SHORT, Kind
from agent.core.command.picture import picture_of_line
from tests.rig import paths

pytestmark = pytest.mark.vllm

READER = """
import contextlib, io, json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))
for line in sys.stdin:
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            read = vars(parser.parse_args(json.loads(line)))
    except (SystemExit, Exception):
        read = None
    print("READ " + json.dumps(read, default=lambda value: "an object"))
"""

WORDS = {
    Kind.WHOLE: ("1", "8", "-1", "two"),
    Kind.SIZE: ("32k", "4K", "8192", "12Q", "2.5k", "2.5K"),
    Kind.LENGTH: ("auto", "-1", "32k", "32K", "1M", "24GB"),
    Kind.REAL: ("0.5", ".9", "80", "x"),
    Kind.TEXT: ("abc", "a.b", "foo/bar"),
}
CHECKED_BY_CHOICE = frozenset({"config", "hf_token", "log_config_file", "optimization_level"})
"""Options whose value vLLM turns into something else, or looks up."""


def a_line(how: random.Random) -> list[str]:
    """Return some options of vLLM in some of their spellings."""
    words = ["org/model"]
    usable = [n for n, k in KINDS.items() if k in (*WORDS, Kind.PAIRED, Kind.ALONE)]
    for name in how.sample(sorted({*usable} - CHECKED_BY_CHOICE), how.randint(1, 4)):
        short = [word for word, own in SHORT.items() if own == name]
        also = [f"--{word}" for word, own in ALSO.items() if own == name]
        flag = how.choice([f"--{name}", f"--{name.replace('_', '-')}", *short, *also])
        if how.random() < 0.15 and flag.startswith("--"):
            flag = flag[: how.randint(6, max(7, len(flag)))]
        if KINDS[name] is Kind.PAIRED and how.random() < 0.5:
            flag = f"--no-{name}"
        if KINDS[name] in (Kind.PAIRED, Kind.ALONE):
            words.append(flag)
            continue
        value = how.choice(WORDS[KINDS[name]])
        words += how.choice([[flag, value], [f"{flag}={value}"]])
    if how.random() < 0.2:
        words += ["--speculative-config.model", "d", "--speculative-config.a.b", "3"]
    return words


def as_vllm_reads(lines: list[list[str]]) -> list[dict[str, Any] | None]:
    python = paths.part("vllm") / "bin/python"
    answer = subprocess.run(
        [python, "-c", READER],
        input="\n".join(map(json.dumps, lines)),
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    read = [row[5:] for row in answer.stdout.splitlines() if row.startswith("READ ")]
    return [json.loads(row) for row in read]


def test_a_line_means_to_us_what_it_means_to_vllm() -> None:
    how = random.Random(33)
    lines = [a_line(how) for _ in range(400)]
    accepted = 0
    for words, theirs in zip(lines, as_vllm_reads(lines), strict=True):
        ours = picture_of_line(words)
        if theirs is None or ours.options.keys() - {"model"} - theirs.keys():
            # A value that is none of a few words, or an option that came with a later release.
            continue
        accepted += 1
        assert (ours.mistakes, ours.unknown) == ((), ()), words
        for name, given in ours.options.items():
            if name != "model" and theirs[name] not in ("an object", [given.value]):
                assert theirs[name] == given.value, (name, words)
    assert accepted > 150
