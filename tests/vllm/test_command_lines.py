# SPDX-License-Identifier: Apache-2.0
"""Command lines in all spellings, read by the real parsers of vLLM 0.32 and 0.33 and by ours."""

from __future__ import annotations

import json
import os
import random
import subprocess
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import pytest

from agent.core.command.options import ALSO, KINDS, SHORT, Kind
from agent.core.command.picture import picture_of_line
from agent.core.command.spelling import option_named
from agent.host.probes.format_names import variables_of
from tests.rig import paths

pytestmark = pytest.mark.vllm

READER = """
import contextlib, io, json, sys
try:
    from vllm.entrypoints.common.cli_args import make_arg_parser
except ImportError:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm import envs
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))
options = [
    {
        "name": action.dest,
        "spelled": action.option_strings,
        "alone": action.nargs == 0,
        "several": action.nargs in ("+", "*"),
        "choices": [str(choice) for choice in action.choices or ()],
    }
    for action in parser._actions
    if action.option_strings and action.dest != "help"
]
has = {"options": options, "variables": list(envs.environment_variables)}
print("READ " + json.dumps(has), flush=True)
for line in sys.stdin:
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            read = vars(parser.parse_args(json.loads(line)))
    except (SystemExit, Exception):
        read = None
    print("READ " + json.dumps(read, default=lambda value: "an object"))
"""

Release = Literal["vllm", "vllm-033"]
RELEASES: tuple[Release, ...] = ("vllm", "vllm-033")

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


class Parser:
    """A release's own parser, in a process of its own; its import is what takes seconds."""

    def __init__(self, release: Release) -> None:
        base = paths.part("vllm")
        packages = "lib/python3.11/site-packages"
        # 0.33 is its Python alone, beside the packages of 0.32.
        own = {} if release == "vllm" else {"PYTHONPATH": str(paths.part(release) / packages)}
        self._process = subprocess.Popen(
            [base / "bin/python", "-c", READER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **own},
        )
        assert self._process.stdout is not None
        said = iter(self._process.stdout.readline, "")
        self.has: dict[str, Any] = next(_read(row) for row in said if row.startswith(MARK))

    def read(self, lines: list[list[str]]) -> list[Any]:
        """Return what the parser makes of each line, None where it refuses it; called once."""
        said, _ = self._process.communicate("\n".join(map(json.dumps, lines)), timeout=600)
        assert self._process.returncode == 0
        return [_read(row) for row in said.splitlines() if row.startswith(MARK)]


MARK = "READ "


def _read(row: str) -> Any:
    return json.loads(row.removeprefix(MARK))


@dataclass(frozen=True, slots=True)
class Heard:
    """All that is asked of a release, at once: its import takes seconds."""

    options: list[dict[str, Any]]
    variables: frozenset[str]
    made_up: list[tuple[list[str], dict[str, Any] | None]]
    each: list[tuple[list[str], dict[str, Any] | None]]


VALUES = {
    Kind.WHOLE: ("3", "-1", "x", "1.5"),
    Kind.SIZE: ("3", "4k", "4K", "2.5K", "x"),
    Kind.LENGTH: ("auto", "8192", "32k", "x"),
    Kind.REAL: ("0.5", "1e-3", "x"),
    Kind.TABLE: ('{"a": 1}', "{a: 1}"),
    Kind.MANY: ("x",),
    Kind.TEXT: ("abc", "1"),
    Kind.UNKNOWN: ("1",),
}
SHORTHANDS = (
    *(("-O3",), ("-O", "2"), ("-O=1",), ("-tp4",), ("-tp=4",), ("-n2",), ("-cc", '{"mode": 3}')),
    *(("-cc.mode", "3"), ("--compilation-config.mode=3",), ("-ac.backend", "FLASH_ATTN")),
    ("-cc.pass_config.fuse_norm_quant", "true"),
    ("--speculative-config.method", "mtp", "--speculative-config.num_speculative_tokens", "2"),
    ("--compilation-config.cudagraph_capture_sizes+", "1,2"),
)


def lines_of_each(options: list[dict[str, Any]]) -> list[list[str]]:
    """Return each option in each spelling, with values that are right and that are wrong."""
    lines = [["org/m", *words] for words in SHORTHANDS]
    for option in options:
        kind = KINDS.get(option["name"], Kind.UNKNOWN)
        values = (*VALUES.get(kind, ()), *option["choices"][:2])
        for word in option["spelled"]:
            if option["alone"]:
                lines.append(["org/m", word])
            elif option["name"] != "config":  # vLLM reads the file before it parses
                lines += [["org/m", word, value] for value in values]
    return lines


@cache
def heard(release: Release) -> Heard:
    parser = Parser(release)
    how = random.Random(33)
    made_up = [a_line(how) for _ in range(400)]
    each = lines_of_each(parser.has["options"])
    pairs = list(zip([*made_up, *each], parser.read([*made_up, *each]), strict=True))
    at = len(made_up)
    variables = frozenset(parser.has["variables"])
    return Heard(parser.has["options"], variables, pairs[:at], pairs[at:])


@pytest.mark.parametrize("release", RELEASES)
def test_a_line_means_to_us_what_it_means_to_vllm(release: Release) -> None:
    accepted = 0
    for words, theirs in heard(release).made_up:
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


@pytest.mark.parametrize("release", RELEASES)
def test_each_option_of_vllm_is_known_under_its_own_name_with_what_it_takes(
    release: Release,
) -> None:
    for option in heard(release).options:
        for word in option["spelled"]:
            named = option_named(word)
            assert named.name == option["name"], word
            assert (named.kind in (Kind.PAIRED, Kind.ALONE)) is option["alone"], word
            assert (named.kind is Kind.MANY) is option["several"], word


@pytest.mark.parametrize("release", RELEASES)
def test_no_value_that_vllm_takes_is_refused(release: Release) -> None:
    taken = [(words, theirs) for words, theirs in heard(release).each if theirs is not None]
    assert len(taken) > 500
    for words, theirs in taken:
        ours = picture_of_line(words)
        assert (ours.mistakes, ours.unknown) == ((), ()), words
        for name, given in ours.options.items():
            if name == "model" or theirs[name] == "an object":
                continue
            value = list(given.value) if isinstance(given.value, tuple) else given.value
            assert str(theirs[name]).strip("[]'") == str(value).strip("[]'"), (name, words)


@pytest.mark.parametrize("release", RELEASES)
def test_each_variable_of_vllm_is_found_in_its_file(release: Release) -> None:
    place = paths.part(release) / "lib/python3.11/site-packages"
    ours = {name for name in heard(release).variables if name.startswith("VLLM_")}
    assert len(ours) > 250
    assert ours <= variables_of([str(place)])
