# SPDX-License-Identifier: Apache-2.0
"""The line of a shell script that starts vLLM, with the variables that the script sets before."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agent.core.command.line import NotVllmError, VllmLine, vllm_line
from agent.core.foreign.found import Left, NoEngineError
from agent.core.foreign.variables import expanded

_ASSIGNMENT = re.compile(
    r"(?:(?P<export>export|declare -x)\s+)?(?P<name>[A-Za-z_]\w*)=(?P<value>.*)"
)
_ACTIVATE = re.compile(r"(?:source|\.)\s+[\"']?(?P<venv>[^\s\"';&]+)/bin/activate")
_COMPUTED = ("$(", "`")


@dataclass(frozen=True, slots=True)
class Script:
    """vLLM's line of a script, the variables exported to it, and what could not be followed."""

    line: VllmLine
    exported: Mapping[str, str]
    left: tuple[Left, ...] = ()


def read_script(text: str, environment: Mapping[str, str]) -> Script:
    """Read a script of sh or bash line by line, without running it; raises NoEngineError.

    Assignments, `export`, `source .../activate` and line ends with a backslash are followed.
    Branches, loops and what a command prints are not: such a value is named in `left`.
    """
    known, exported, venv = dict(environment), dict[str, str](), ""
    left: list[Left] = []
    for line in _lines(text):
        if activated := _ACTIVATE.search(line):
            venv = expanded(activated["venv"], known, [])
        if assigned := _ASSIGNMENT.fullmatch(line):
            value = _value(assigned, known, left)
            if value is not None:
                known[assigned["name"]] = value
                if assigned["export"]:
                    exported[assigned["name"]] = value
                continue
        elif exports := re.fullmatch(r"export\s+([A-Za-z_][\w ]*)", line):
            names = exports[1].split()
            exported |= {name: known[name] for name in names if name in known}
            continue
        if found := _vllm(line, known, left):
            program = found.program
            if venv and "/" not in program:
                program = f"{venv}/bin/{program or 'vllm'}"
            return Script(VllmLine(found.words, found.environment, program), exported, tuple(left))
    raise NoEngineError("no line of the script starts `vllm serve`")


def activated_in(words: tuple[str, ...]) -> str:
    """Return the virtual environment that `sh -c "source DIR/bin/activate && ..."` enters."""
    found = _ACTIVATE.search(" ".join(words))
    return found["venv"] if found else ""


def _lines(text: str) -> Iterator[str]:
    for line in re.sub(r"\\\n", " ", text).splitlines():
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield stripped


def _value(assigned: re.Match[str], known: Mapping[str, str], left: list[Left]) -> str | None:
    """Return what is assigned; None where the line assigns for one command, as `A=1 vllm ...`."""
    text = assigned["value"]
    if any(sign in text for sign in _COMPUTED):
        told = "the script computes it: write the value itself"
        left.append(Left(f"{assigned['name']}={text}", told))
        return ""
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        return ""
    if len(words) > 1:
        return None
    return expanded(words[0], known, []) if words else ""


def _vllm(line: str, known: Mapping[str, str], left: list[Left]) -> VllmLine | None:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return None
    missing: list[str] = []
    whole = []
    for word in words:
        if word in ('"$@"', "$@", "$*"):
            continue
        # An unquoted variable that holds several words becomes several.
        value = expanded(word, known, missing)
        quoted = f'"{word}"' in line
        whole += [value] if quoted or value == word else value.split()
    try:
        found = vllm_line(whole)
    except NotVllmError:
        return None
    left += [
        Left(f"${name}", "the script does not set it before this line: write its value itself")
        for name in dict.fromkeys(missing)
    ]
    return found
