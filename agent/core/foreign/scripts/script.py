# SPDX-License-Identifier: Apache-2.0
"""The line of a shell script that starts vLLM, with the variables that the script sets before."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import field

from agent.core.command.line import NotVllmError, VllmLine, until_the_end, vllm_line
from agent.core.foreign.docker_line import starts_container
from agent.core.foreign.found import Found, Left, NoEngineError
from agent.core.foreign.process import MATTERS
from agent.core.foreign.scripts.beside import Beside
from agent.core.foreign.scripts.carried import SHOWS, carried, command_name, in_a_shell
from agent.core.foreign.scripts.functions import in_order
from agent.core.foreign.scripts.shell import Scope, absolute, statements, variables, words_of
from agent.core.foreign.variables import expanded, variables_of
from agent.core.record import dataclass

ReadText = Callable[[str], str | None]
"""Takes the path of a file; returns its text, None where it cannot be read."""

MOST_FILES = 16  # are read for one script: they may read one another

_ASSIGNMENT = re.compile(
    r"(?:(?P<export>export|declare -x|readonly|local)\s+)?"
    r"(?P<name>[A-Za-z_]\w*)(?P<adds>\+?)=(?P<value>.*)",
    re.DOTALL,
)
_ACTIVATE = re.compile(r"(?:source|\.)\s+[\"']?(?P<venv>[^\s\"';&]+)/bin/activate")
_CONDA = re.compile(
    r"(?<![^\s\"'();=:`])(?P<root>/[^\s\"'();=:`]+)/(?:etc/profile\.d|bin|condabin)/(?:conda|mamba)\b"
)
_ENVIRONMENT = re.compile(
    r"(?:(?:conda|mamba|micromamba)\s+activate|(?:source|\.)\s+activate)(?:\s+(?P<name>\S+))?"
)
"""As `conda activate llm`, which finds the environment below its own root."""

_SOURCE = re.compile(r"(?:source|\.)\s+(?P<file>\S.*)")
_OWN_DIRECTORY = re.compile(
    r"dirname.{0,400}(?:\$0|BASH_SOURCE|\$\{0\})|(?:BASH_SOURCE|\$0).{0,400}%/\*"
)
_DOLLAR = "\0"
_COMPUTED = ("$(", "`")
_OPENS = re.compile(r"(?:if|case|for|while|until)\b")
_CLOSES = re.compile(r"(?:fi|esac|done)\b")
_MAY_START = re.compile(r"vllm|\$|docker|podman")
_TEST = re.compile(r"\[|test\s|\(\(")
_USED = re.compile(r"\$\{?([A-Za-z_]\w*)")
_BEFORE = re.compile(r"(?:then|do|else|if|!|exec|\{|\()\s+")

MOST_INSIDE = 4
"""So deep a command is looked for in what another is handed."""


@dataclass(frozen=True, slots=True)
class Script:
    """vLLM's line of a script, what is exported to it, where it runs, and what was not followed.

    `beside` is what else the script does.

    `words` are the whole line, "docker run" before it and all.
    """

    line: VllmLine
    words: tuple[str, ...]
    exported: Mapping[str, str]
    directory: str
    beside: Beside
    left: tuple[Left, ...] = ()


@dataclass(slots=True)
class _Reader:
    """One reading: `place` is the script's own directory, `directory` where it has gone."""

    read: ReadText
    place: str
    directory: str
    scope: Scope
    exported: dict[str, str] = field(default_factory=dict)
    left: list[Left] = field(default_factory=list)
    lines: list[tuple[VllmLine, tuple[str, ...], dict[str, str]]] = field(default_factory=list)
    calls: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    beside: Beside = field(default_factory=Beside)
    venv: str = ""
    conda: str = ""
    files: int = 0
    depth: int = 0
    inside: int = 0
    """How many branches and loops go on."""


def read_script(text: str, base: Found, place: str, read: ReadText) -> Script:
    """Read a script of sh or bash, without running it; raises NoEngineError.

    Assignments, arrays, `export`, `cd`, `source` and an activated environment are followed. Which
    branch is taken, and what a command prints, is not: both are named in `left`.
    """
    reader = _Reader(
        read, place, base.directory or place, variables({"HOME": base.home, **base.environment})
    )
    _take(reader, text)
    if not reader.lines:
        raise NoEngineError("no line of the script starts `vllm serve`")
    line, words, exported_then = reader.lines[0]
    if len(reader.lines) > 1:
        told = f"the first of {len(reader.lines)} is taken: give the line itself behind --"
        reader.left.append(Left("lines of the script that start vLLM", told))
    reader.left += [
        Left(f"${name}", "the script does not set it before this line: write its value itself")
        for name in dict.fromkeys(reader.scope.missing)
    ]
    # What the script made for its own line says nothing to an engine.
    exported = without_own(exported_then, text)
    return Script(line, words, exported, reader.directory, reader.beside, tuple(reader.left))


def without_own(variables: Mapping[str, str], text: str) -> Mapping[str, str]:
    """Return the variables without those that a script uses itself and no library reads."""
    own = {name for name in variables_of((text,)) if not MATTERS.fullmatch(name)}
    return {name: value for name, value in variables.items() if name not in own}


def _take(reader: _Reader, text: str) -> None:
    tested = False
    for step in in_order(list(statements(text))):
        statement = step.statement
        if step.is_call:
            _call(reader, statement)
            continue
        # What stands behind a test and "&&" is a branch, too.
        reader.inside += tested
        _take_one(reader, statement)
        reader.inside -= tested
        tested = _TEST.match(statement) is not None


def _call(reader: _Reader, statement: str) -> None:
    """Begin a function with the words of its call, or with "" end it."""
    if statement:
        # What a function sets before its own line it sets in any case.
        reader.calls.append((reader.inside, reader.scope.arguments))
        reader.inside = 0
        reader.scope.give(words_of(statement, reader.scope)[1:])
    elif reader.calls:
        reader.inside, arguments = reader.calls.pop()
        reader.scope.give(arguments)


def _take_one(reader: _Reader, statement: str) -> None:
    reader.inside += bool(_OPENS.match(statement)) - bool(_CLOSES.match(statement))
    while begun := _BEFORE.match(statement):
        statement = statement[begun.end() :]
    if root := _CONDA.search(expanded(statement, reader.scope.known, [])):
        reader.conda = root["root"]
    if activated := _ACTIVATE.match(statement):
        _activate(reader, activated["venv"])
    elif named := _ENVIRONMENT.fullmatch(statement):
        _activate_conda(reader, named["name"] or "base")
    elif (assigned := _ASSIGNMENT.fullmatch(statement)) and _assign(reader, assigned):
        return
    elif exports := re.fullmatch(r"export\s+([A-Za-z_][\w ]*)", statement):
        known = reader.scope.known
        reader.exported |= {name: known[name] for name in exports[1].split() if name in known}
    elif statement.startswith("cd "):
        words = words_of(statement, reader.scope)[1:2]
        reader.directory = absolute(words[0], reader.directory) if words else "/root"
    elif sourced := _SOURCE.fullmatch(statement):
        _source(reader, sourced["file"])
    else:
        _start(reader, statement)


def _activate(reader: _Reader, place: str) -> None:
    unset: list[str] = []
    venv = expanded(place, reader.scope.known, unset)
    if unset:
        told = f"nothing sets ${unset[0]}: set `python` to the environment's own"
        reader.left.append(Left(f"source {place}/bin/activate", told))
        return
    reader.venv = reader.conda = absolute(venv, reader.directory)


def _activate_conda(reader: _Reader, name: str) -> None:
    """Take an environment of conda's: by its path, or by its name below conda's root."""
    name = expanded(name.strip("\"'"), reader.scope.known, reader.scope.missing)
    if "/" in name:
        reader.venv = absolute(name, reader.directory)
    elif reader.conda:
        reader.venv = reader.conda if name == "base" else f"{reader.conda}/envs/{name}"
    else:
        told = f"set `python` to what `conda run -n {name} which python` prints"
        reader.left.append(Left(f"conda activate {name}", told))


def _start(reader: _Reader, statement: str) -> None:
    if not _MAY_START.search(statement):
        reader.beside.note(statement)
        return
    missing = list(reader.scope.missing)
    words = until_the_end(words_of(statement, reader.scope))
    if command_name(words) in SHOWS:
        reader.scope.missing[:] = missing
        reader.beside.note(statement)
        return
    inner = in_a_shell(words) if reader.depth < MOST_INSIDE else None
    found = _line_of(words) if inner is None else None
    if found is None:
        if starts_container(words) and any(word.startswith("--model") for word in words):
            # An image whose name does not tell of vLLM: what it starts is read with its options.
            reader.lines.append((VllmLine(()), words, dict(reader.exported)))
            return
        inner = inner or carried(words)
        if inner is None or reader.depth >= MOST_INSIDE:
            reader.scope.missing[:] = missing
            reader.beside.note(statement)
            return
        reader.depth += 1
        _take(reader, inner)
        reader.depth -= 1
        return
    program = found.program
    if reader.venv and "/" not in program and not starts_container(words):
        program = f"{reader.venv}/bin/{program or 'vllm'}"
    line = VllmLine(found.words, found.environment, program)
    reader.lines.append((line, words, dict(reader.exported)))
    for name in dict.fromkeys(_USED.findall(statement)):
        if name in reader.scope.branched:
            told = "it is set in a branch or loop, taken here as if it ran: see that it does"
            reader.left.append(Left(f"${name}", told))
    hollow = reader.scope.hollow
    reader.scope.missing += [hollow[name] for name in variables_of((statement,)) if name in hollow]


def _line_of(words: tuple[str, ...]) -> VllmLine | None:
    try:
        return vllm_line(words)
    except NotVllmError:
        return None


def _source(reader: _Reader, file: str) -> None:
    words = words_of(file, reader.scope)
    text = reader.read(absolute(words[0], reader.directory)) if words else None
    if text is None or reader.files >= MOST_FILES:
        reader.left.append(Left(f"source {file}", "it cannot be read: what it sets is not known"))
        return
    reader.files += 1
    _take(reader, text)


def _assign(reader: _Reader, assigned: re.Match[str]) -> bool:
    """Take an assignment; False where it is one for one command, as `A=1 vllm ...`."""
    name, text, scope = assigned["name"], assigned["value"], reader.scope
    if reader.inside > 0:
        scope.branched.add(name)
    elif not assigned["adds"]:
        scope.branched.discard(name)
    if text.startswith("("):
        items = words_of(text.strip().removeprefix("(").removesuffix(")"), scope)
        before = scope.arrays.get(name, []) if assigned["adds"] else []
        scope.arrays[name] = [*before, *items]
        return True
    if any(sign in text for sign in _COMPUTED):
        own = _OWN_DIRECTORY.search(text)
        if not own and len(words_of(text, Scope({}))) > 1 and text[:1] not in "\"'$`":
            return False
        if not own:
            told = "the script computes it: write the value itself"
            reader.left.append(Left(f"{name}={text}", told))
        scope.known[name] = reader.place if own else ""
        return True
    # Variables are put in after the words are told apart: one with spaces in it stays one value.
    raw = words_of(text.replace("$", _DOLLAR), Scope({}))
    if len(raw) > 1:
        return _export_several(reader, assigned[0]) if assigned["export"] else False
    unset: list[str] = []
    value = expanded(raw[0].replace(_DOLLAR, "$"), scope.known, unset) if raw else ""
    scope.hollow.pop(name, None)
    exported = assigned["export"] in ("export", "declare -x") or name in reader.exported
    if unset:
        scope.hollow[name] = unset[0]
        if exported and not value:
            told = "nothing sets it here: write its value itself"
            reader.left.append(Left(f"{name}={text}", told))
            return True
    scope.known[name] = f"{scope.known.get(name, '')}{value}" if assigned["adds"] else value
    if exported:
        reader.exported[name] = scope.known[name]
    return True


def _export_several(reader: _Reader, statement: str) -> bool:
    for word in words_of(statement, reader.scope)[1:]:
        name, equals, value = word.partition("=")
        if equals:
            reader.scope.known[name] = reader.exported[name] = value
    return True
