# SPDX-License-Identifier: Apache-2.0
"""A container that runs vLLM, as the table of a service whose paths and ports are the host's."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

from agent.core.command.line import DEMO_SERVER, NotVllmError, vllm_line
from agent.core.foreign.docker_line import RunLine
from agent.core.foreign.found import OF_THE_DEMO, Container, Found, Left, NoEngineError
from agent.core.foreign.scripts.script import Script, read_script
from agent.core.foreign.words import before_vllm

DEFAULT_PORT = 8000
HUB = "/root/.cache/huggingface"
_HOMES = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE")
_SHELL = ("-c", "-lc", "-ec", "-exc")


def engine_in(base: Found, line: RunLine) -> Found:
    """Return the engine in a container; raises NoEngineError where the image starts another."""
    mounts = tuple(replace(m, source=base.placed(m.source)) for m in line.container.mounts)
    line = replace(line, container=replace(line.container, mounts=mounts))
    left = list(base.left)
    words, environment = _words(line, left)
    environment = {**base.environment, **dict(line.environment), **environment}
    if line.user and line.user.split(":")[0] not in ("0", "root"):
        left.append(
            Left(
                f"user {line.user}",
                "whom the engine runs as, llmagent says: see llmagent-containers(7)",
            )
        )
    environment = _hub_outside(line.container, environment, left)
    told = "its files stay in the runtime's volume: copy what vLLM needs of them"
    kept = [Left(f"volume {m.source}:{m.target}", told) for m in mounts if m.is_volume and m.source]
    left += [one for one in kept if one.what not in {other.what for other in left}]
    homes = {name: environment.pop(name) for name in _HOMES if name in environment}
    outside = _outside(tuple(environment.values()), line.container)
    environment = {**homes, **dict(zip(environment, outside, strict=True))}
    return replace(
        base,
        name=line.name or base.name,
        words=_outside(words, line.container),
        environment=environment,
        program="",
        user="",
        container=line.container,
        gpus=line.gpus or base.gpus,
        left=tuple(left),
    )


def _words(line: RunLine, left: list[Left]) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """Return vLLM's own words, and the variables that a shell sets before it.

    A program of the image's or the operator's that stands before them is named in `left`.
    """
    whole = (*line.entrypoint, *line.command)
    try:
        found = vllm_line(whole)
    except NotVllmError as error:
        names_model = any(word.startswith("--model") for word in line.command)
        if "vllm" not in line.container.image and not line.entrypoint and not names_model:
            raise NoEngineError(f"{line.container.image} is no image of vLLM's") from error
        if any(word in _SHELL for word in whole):
            raise NoEngineError(str(error)) from error
        if any(line.entrypoint):
            told = "vLLM is started without it: see what it does before, and do that elsewhere"
            left.append(Left(f"entrypoint {' '.join(line.entrypoint)}", told))
        rest = line.command[1:] if line.command[:1] == ("serve",) else line.command
        return rest, {}
    if any(DEMO_SERVER in word for word in whole):
        left.append(Left(DEMO_SERVER, OF_THE_DEMO))
    if (inside := _in_a_shell(line, whole)) is not None:
        told = "only vLLM is started: build an image that has it done"
        left += [Left(f"`{one}` in the image's shell", told) for one in inside.beside.changes()]
        left += inside.left
        return inside.line.words, {**inside.exported, **inside.line.environment}
    if before := before_vllm(whole).programs:
        told = "it stands before vLLM: engine.entrypoint may begin with it"
        left.append(Left(before, told))
    return found.words, found.environment


def _in_a_shell(line: RunLine, whole: tuple[str, ...]) -> Script | None:
    """Return what a shell of the image starts with the container's variables, None without one.

    "$@" in it are the words behind the script and the name that it is given.
    """
    at = next((at for at, (flag, _) in enumerate(pairwise(whole)) if flag in _SHELL), None)
    if at is None:
        return None
    given = shlex.join(whole[at + 3 :])
    text = whole[at + 1].replace('"$@"', given).replace("$@", given)
    base = Found("", (), dict(line.environment), directory="/")
    try:
        return read_script(text, base, "/", lambda _file: None)
    except NoEngineError:
        return None


def _hub_outside(box: Container, environment: dict[str, str], left: list[Left]) -> dict[str, str]:
    """Put the host's path for the container's in the variables of the hub's cache."""
    given = {name: environment[name] for name in _HOMES if name in environment}
    result = dict(environment)
    for name, value in given.items():
        real = _place(value, box)
        if real is None:
            del result[name]
        else:
            result[name] = real
    if given:
        return result
    for mount in box.mounts:
        if not HUB.startswith(mount.target.rstrip("/")) and not mount.target.startswith(HUB):
            continue
        if mount.is_volume:
            told = "its files stay in the runtime's volume: copy them, or the model is fetched anew"
            left.append(Left(f"volume {mount.source}:{mount.target}", told))
        elif mount.target.rstrip("/") == f"{HUB}/hub":
            result["HF_HUB_CACHE"] = mount.source
        elif (real := mount.outside(HUB)) is not None:
            result["HF_HOME"] = real
    return result


def _place(path: str, box: Container) -> str | None:
    """Return where a path lies on the host, None where it lies in the container alone."""
    best = None
    for mount in box.mounts:
        real = None if mount.is_volume else mount.outside(path)
        if real is not None and (best is None or len(mount.target) > len(best[0])):
            best = (mount.target, real)
    return best[1] if best else None


def _outside(words: tuple[str, ...], box: Container) -> tuple[str, ...]:
    """Put the host's paths for the container's, wherever one stands in a word."""
    mounts = [m for m in box.mounts if not m.is_volume and m.target.rstrip("/")]
    places = {m.target.rstrip("/"): m.source.rstrip("/") for m in mounts}
    if not places:
        return words
    longest_first = "|".join(map(re.escape, sorted(places, key=len, reverse=True)))
    path = re.compile(rf"(?:(?<=^)|(?<=[=\"':;, ]))(?:{longest_first})(?=$|[/\"':;, ])")
    return tuple(path.sub(lambda found: places[found.group()], word) for word in words)
