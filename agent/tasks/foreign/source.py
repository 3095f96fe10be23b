# SPDX-License-Identifier: Apache-2.0
"""What `llmagent import` is given, looked up here: a unit, a file, a process, a container."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from agent.core.command.given import read_words
from agent.core.doctor.host import import_name
from agent.core.foreign.docker_line import RUNTIMES
from agent.core.foreign.found import Found, Left, NoEngineError
from agent.core.foreign.inspected import engine_of_container
from agent.core.foreign.kube import engines_of_kube, is_kube
from agent.core.foreign.process import engine_of_process
from agent.core.foreign.quadlet import unit_of_container_file
from agent.core.foreign.relative import with_whole_paths
from agent.core.foreign.scripts.script import without_own
from agent.core.foreign.scripts.supervisor import SUFFIXES, programs_of_supervisor
from agent.core.foreign.scripts.task import script_of_task
from agent.core.foreign.table import Imported, table_of
from agent.core.foreign.unit import engine_of_unit, engine_of_words
from agent.core.numerals import whole_number
from agent.core.record import dataclass
from agent.errors import HostLacksError, UsageError
from agent.host.files.unit_text import unit_file, unit_text
from agent.host.probes.command import output_of
from agent.host.probes.kernel import engines
from agent.host.probes.process import home_of, process
from agent.host.vllm.config_file import read_options_file
from agent.places import UNIT_DIRECTORY
from agent.tasks.foreign.compose_files import engines_of_project, read_text, yaml_tables

YAML = (".yml", ".yaml")
NOT_NAMED = "name a unit, a compose file, a PID, a container, or a command line: -- vllm serve ..."

_CONTAINER = re.compile(r"(?:docker|libpod|cri-containerd)-([0-9a-f]{12,64})\.scope")


class Kind(StrEnum):
    """What starts the engine now, so that it can be ended in the same way."""

    UNIT = "unit"
    CONTAINER = "container"
    PROCESS = "process"
    LINE = "line"


@dataclass(frozen=True, slots=True)
class Source:
    """What starts the engines: `name` is the unit's, the container's, or the process's number.

    `unit` is the one that a process belongs to, "" for none.
    """

    kind: Kind
    name: str
    engines: tuple[Found, ...]
    runtime: str = ""
    unit: str = ""


def source_of(what: str | None, line: tuple[str, ...] | None) -> Source:
    """Return what is meant; raises UsageError and HostLacksError with what was looked for."""
    try:
        if line is not None:
            base = Found("vllm", (), directory=str(Path.cwd()), home=str(Path.home()))
            words = tuple(os.path.expanduser(word) for word in line)  # noqa: PTH111 - any word
            return Source(Kind.LINE, "", (engine_of_words(base, words, read_text),))
        if what is None:
            raise UsageError(f"{NOT_NAMED}{_here()}")
        return _named(what)
    except NoEngineError as error:
        hint = "" if what is None else "; or give the line itself: -- vllm serve MODEL ..."
        raise UsageError(f"{what or 'the command line'}: {error}{hint}") from error


def is_ours(unit: str) -> bool:
    """Tell whether a unit, by name or file, is one that llmagent has written."""
    file = Path(unit) if "/" in unit else unit_file(unit)
    return file is not None and Path(os.path.realpath(file)).is_relative_to(UNIT_DIRECTORY)


def _here() -> str:
    """Return which engines run here that are not llmagent's, "" for none."""
    own = frozenset(file.name for file in UNIT_DIRECTORY.glob("*.service"))
    names = dict.fromkeys(import_name(process) for process in engines(own))
    lines = ", ".join(f"`llmagent import {name}`" for name in list(names)[:3])
    return f"; here run {lines}" if lines else ""


def imported(found: Found, name: str | None) -> Imported:
    """Return the table of an engine, with the file of its --config read and its Python found."""
    found = with_whole_paths(found, os.path.exists)
    file = read_words(found.words).config_file
    content = None
    if file is not None:
        try:
            content = read_options_file(found.placed(file))
        except UsageError:
            content = None
    if found.container is None and found.launcher is None and "/" not in found.program:
        found = replace(found, program=_program(found))
    if found.container is None:
        found = replace(found, program=_interpreter(found.placed(found.program)))
    return table_of(found, content, name)


def _program(found: Found) -> str:
    """Look for a bare `vllm` or `python` where the engine's own PATH leads, or else ours."""
    path = found.environment.get("PATH", os.defpath + os.pathsep + os.environ.get("PATH", ""))
    return shutil.which(found.program or "vllm", path=path) or found.program


def _interpreter(program: str) -> str:
    """Return the Python that a `vllm` without one beside it names in its first line.

    pipx and `uv tool` put only the command into ~/.local/bin.
    """
    path = Path(program)
    if not program.startswith("/") or path.name != "vllm" or _is_file(path.parent / "python"):
        return program
    first = (read_text(program) or "").partition("\n")[0].removeprefix("#!").strip()
    return first if re.fullmatch(r"/\S+/python[\d.]*", first) else program


def _named(what: str) -> Source:
    if (pid := whole_number(what)) is not None:
        return _process(pid)
    path = Path(what)
    if path.suffix == ".container":
        return _quadlet(path)
    if path.suffix in YAML or (_is_file(path) and path.suffix != ".service"):
        return _file(path)
    text = unit_text(what)
    if text is not None:
        if is_ours(what):
            raise UsageError(f"{what} is llmagent's own already: see `llmagent status`")
        name = f"{path.name.removesuffix('.service')}.service"
        found = engine_of_unit(name, text, read_text, home_of)
        return Source(Kind.UNIT, name, (found,))
    return _container(what)


def _process(pid: int) -> Source:
    """Look at a process, or at that one above it that was started with vLLM's words."""
    said = ""
    at = pid
    try:
        while at > 1 and (seen := process(at)) is not None:
            try:
                directory, home = seen.directory, home_of(seen.user)
                found = engine_of_process(seen.words, seen.environment, seen.user, directory)
            except NoEngineError as error:
                said = said or str(error)
                at = seen.parent
                continue
            if box := _CONTAINER.search(seen.unit):
                raise UsageError(f"{at} runs in a container: llmagent import {box[1][:12]}")
            return Source(Kind.PROCESS, str(at), (replace(found, home=home),), unit=seen.unit)
    except PermissionError as error:
        raise HostLacksError(f"{pid}: only root may look at it; type it with sudo") from error
    raise UsageError(f"{pid}: {said or 'there is no such process'}")


def _file(path: Path) -> Source:
    if path.suffix not in YAML:
        base = Found(path.stem, (), directory=str(path.absolute().parent), home=str(Path.home()))
        if path.suffix in SUFFIXES:
            return _supervisor(path, base)
        return Source(Kind.LINE, "", (engine_of_words(base, (str(path.absolute()),), read_text),))
    documents = yaml_tables(path)
    if any(map(is_kube, documents)):
        base = Found(path.stem, (), directory=str(path.absolute().parent))
        return Source(Kind.CONTAINER, "", engines_of_kube(documents, base), "podman")
    content = documents[0]
    if (
        not content.keys() & {"services", "include"}
        and (task := script_of_task(content)) is not None
    ):
        base = Found(path.stem, (), task[1], directory=str(path.absolute().parent))
        found = engine_of_words(base, ("sh", "-c", task[0]), read_text)
        found = replace(found, environment=without_own(found.environment, task[0]))
        return Source(Kind.LINE, "", (found,))
    runtime = "podman" if shutil.which("podman") and not shutil.which("docker") else "docker"
    return Source(Kind.CONTAINER, "", engines_of_project(path, documents, runtime), runtime)


def _supervisor(path: Path, base: Found) -> Source:
    text = read_text(str(path))
    if text is None:
        raise UsageError(f"{path} cannot be read")
    programs = programs_of_supervisor(text, base)
    engines = tuple(engine_of_words(own, words, read_text) for own, words in programs)
    if not engines:
        raise NoEngineError("no [program:NAME] in it starts vLLM")
    return Source(Kind.LINE, "", engines)


def _quadlet(path: Path) -> Source:
    text = read_text(str(path))
    if text is None:
        raise UsageError(f"{path} cannot be read")
    unit, left = unit_of_container_file(text, str(path.absolute().parent))
    found = engine_of_unit(f"{path.stem}.service", unit, read_text, home_of)
    found = replace(found, left=(*found.left, *left))
    return Source(Kind.CONTAINER, "", (found,), "podman")


def _container(name: str) -> Source:
    tried = [runtime for runtime in RUNTIMES if shutil.which(runtime)]
    for runtime in tried:
        said = _inspect(runtime, "container", name)
        if said:
            image = _inspect(runtime, "image", str(said.get("Image", "")))
            found = engine_of_container(said, image, runtime)
            if not image:
                told = "the image cannot be asked for its own variables: some here may be its"
                found = replace(found, left=(*found.left, Left("environment", told)))
            return Source(Kind.CONTAINER, name, (found,), runtime)
    silent = [runtime for runtime in tried if output_of(runtime, "version") is None]
    asked = [runtime for runtime in tried if runtime not in silent]
    found_out = [f"no container of {' or '.join(asked)}"] if asked else []
    found_out += [f"{one} does not answer (`{one} version` says why)" for one in silent]
    looked = ", and ".join(found_out) or "neither docker nor podman here"
    raise UsageError(f"{name}: no such file, no unit {name}.service, {looked}; {NOT_NAMED}")


def _inspect(runtime: str, kind: str, name: str) -> Mapping[str, Any]:
    said = output_of(runtime, kind, "inspect", name)
    try:
        answer = json.loads(said or "[]")
    except (ValueError, RecursionError):
        return {}
    return answer[0] if isinstance(answer, list) and answer and isinstance(answer[0], dict) else {}


def _is_file(path: Path) -> bool:
    """Tell whether there is such a file; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
