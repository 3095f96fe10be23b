# SPDX-License-Identifier: Apache-2.0
"""Finds vLLM in a whole command line: behind a Python, a shell, sudo, or docker run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from itertools import pairwise
from types import MappingProxyType

from agent.core.record import dataclass

_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(?!=)(.*)", re.DOTALL)
"""Not `vllm==0.19`, the package that a launcher is to bring."""

_ENDS = frozenset({"&&", "||", "|", ";", "&", ">", ">>", "2>&1", "2>", "<"})
_REDIRECTS = re.compile(r"[0-9&]?>>?[&\w./~$]|[0-9]?<[/~$]")
"""As `>/dev/null`; a word like "<think>" is none."""

_IMAGE = re.compile(r"(?=.*vllm)[a-z0-9][\w./:@-]*")
_COMMAND = re.compile(r"vllm(?:@[\w.+-]+)?")
"""The command; uvx takes a release behind it."""

_SHELLS = frozenset({"sh", "bash", "dash", "zsh"})
DEMO_SERVER = "vllm.entrypoints.api_server"
"""It answers /generate alone, for demonstrations (entrypoints/api_server.py, gone with 0.25)."""

_SERVERS = frozenset({"vllm.entrypoints.openai.api_server", DEMO_SERVER})
_ENGINES = frozenset({"docker", "podman", "nerdctl"})
_TAKE_NOTHING = frozenset(
    {"--rm", "-d", "--detach", "-it", "-ti", "-i", "-t", "--tty", "--init", "--privileged"}
)
_PROPERTIES = frozenset({"-p", "--property"})
"""Options of systemd-run whose values look like variables."""

_NOTHING: Mapping[str, str] = MappingProxyType({})


class NotVllmError(ValueError):
    """No server of vLLM is started by a command line; the message says what is looked for."""


@dataclass(frozen=True, slots=True)
class VllmLine:
    """The words behind `vllm serve`, the variables set on the line, and the program that runs it.

    `program` is the path of the Python or of `vllm`, "" in a container; `image` is that one's.
    """

    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    program: str = ""
    image: str = ""


def vllm_line(words: Sequence[str]) -> VllmLine:
    """Return vLLM's part of a command line; raises NotVllmError."""
    words = tuple(words)
    environment: dict[str, str] = {}
    program = ""
    for at, word in enumerate(words):
        name, rest = word.rsplit("/", 1)[-1], words[at + 1 :]
        if name in _SHELLS and (script := _script(rest)):
            found = vllm_line(script)
            return replace(found, environment={**environment, **found.environment})
        if name in _ENGINES and "run" in rest:
            return _in_container(rest, environment)
        if _COMMAND.fullmatch(name) and rest[:1] == ("serve",):
            own = _interpreter(words[at - 1] if at else "", word)
            return VllmLine(until_the_end(rest[1:]), environment, own)
        if word == "-m" and rest[:1] and rest[0] in _SERVERS:
            return VllmLine(until_the_end(rest[1:]), environment, program)
        if word == "-m" and rest[:1] and rest[0].startswith("vllm.") and rest[1:2] == ("serve",):
            return VllmLine(until_the_end(rest[2:]), environment, program)
        before = words[at - 1] if at else ""
        if (variable := _VARIABLE.fullmatch(word)) and before not in _PROPERTIES:
            environment[variable[1]] = variable[2]
        elif name.startswith("python"):
            program = word
    raise NotVllmError("no `vllm serve MODEL` and no vllm.entrypoints.openai.api_server in it")


def _interpreter(before: str, command: str) -> str:
    """Return what runs `vllm`: the Python before it where that lies elsewhere (pipx, uv tool).

    What they put into ~/.local/bin has no Python beside it.
    """
    place, _, name = before.rpartition("/")
    elsewhere = place and place != command.rpartition("/")[0]
    if elsewhere and name.startswith("python"):
        return before
    return command.partition("@")[0]


def _script(words: Sequence[str]) -> tuple[str, ...]:
    """Return the words of what `sh -c` runs, () where it runs a file.

    "$@" in it are the words behind the script and the name that it is given.
    """
    for at, (flag, script) in enumerate(pairwise(words)):
        if not flag.startswith("-"):
            break
        if flag.endswith("c"):
            try:
                own = shlex.split(script, comments=True)
            except ValueError:
                break
            given = tuple(words[at + 3 :])
            put_in = {"$@": given, "$@;": (*given, ";")}
            return tuple(w for word in own for w in put_in.get(word, (word,)))
    return ()


def until_the_end(words: Sequence[str]) -> tuple[str, ...]:
    """Return the words before the shell's own: a pipe, a redirection, the next command."""
    ends = (at for at, word in enumerate(words) if word in _ENDS or _REDIRECTS.match(word))
    end = next(ends, len(words))
    return tuple(words[:end])


def _in_container(words: tuple[str, ...], environment: dict[str, str]) -> VllmLine:
    found = dict(environment)
    for before, word in pairwise(("", *words)):
        given = word if before in ("-e", "--env") else word.removeprefix("--env=")
        is_given = before in ("-e", "--env") or word.startswith("--env=")
        if is_given and (variable := _VARIABLE.fullmatch(given)):
            found[variable[1]] = variable[2]
    at = next((at for at in range(len(words)) if _is_image(words, at)), None)
    if at is None:
        return _in_an_image_of_ones_own(words, found)
    rest = words[at + 1 :]
    try:
        inner = vllm_line(rest)
    except NotVllmError:
        # The image's entry point is the server itself.
        rest = rest[1:] if rest[:1] == ("serve",) else rest
        return VllmLine(until_the_end(rest), found, image=words[at])
    return VllmLine(inner.words, {**found, **inner.environment}, image=words[at])


def _in_an_image_of_ones_own(words: tuple[str, ...], environment: dict[str, str]) -> VllmLine:
    """Return vLLM's line from what stands behind an image whose name does not tell of it."""
    scripts = (word for word in words if "vllm" in word and len(word.split()) > 1)
    for given in (words, *(("sh", "-c", script) for script in scripts)):
        try:
            inner = vllm_line(given)
        except NotVllmError:
            continue
        return VllmLine(inner.words, {**environment, **inner.environment})
    raise NotVllmError("the container's image is not one of vLLM")


def _is_image(words: tuple[str, ...], at: int) -> bool:
    """Tell whether a word is an image of vLLM and not the value of an option before it."""
    if not _IMAGE.fullmatch(words[at]):
        return False
    before = words[at - 1] if at else ""
    return not before.startswith("-") or "=" in before or before in _TAKE_NOTHING
