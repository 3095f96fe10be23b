# SPDX-License-Identifier: Apache-2.0
"""A systemd unit that starts vLLM: its command line, and what of it has no place in ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise

from agent.core.command.line import DEMO_SERVER, NotVllmError, VllmLine, vllm_line
from agent.core.command.unit_file import assignments, unit_command
from agent.core.foreign.docker_line import (
    RUNTIMES,
    RunLine,
    container_of_line,
    starts_container,
)
from agent.core.foreign.found import OF_THE_DEMO, Found, Left, NoEngineError
from agent.core.foreign.of_container import engine_in
from agent.core.foreign.process import MATTERS
from agent.core.foreign.scripts.carried import carried
from agent.core.foreign.scripts.makefile import as_script, is_makefile
from agent.core.foreign.scripts.script import ReadText, read_script
from agent.core.foreign.variables import expanded_words, variables_in, variables_of
from agent.core.foreign.words import before_vllm

SHELLS = frozenset({"sh", "bash", "dash", "zsh"})

OURS = frozenset(
    {
        *("Type", "Restart", "RestartSec", "RestartSteps", "RestartMaxDelaySec", "KillMode"),
        *("KillSignal", "TimeoutStartSec", "TimeoutStopSec", "TimeoutSec", "SyslogIdentifier"),
        *("StandardOutput", "StandardError", "LimitNOFILE", "LimitMEMLOCK", "LimitCORE"),
        *("TasksMax", "OOMPolicy", "OOMScoreAdjust", "StartLimitIntervalSec", "StartLimitBurst"),
        *("StateDirectory", "CacheDirectory", "RuntimeDirectory", "SendSIGKILL", "RemainAfterExit"),
        *("ProtectSystem", "ProtectHome", "PrivateTmp", "NoNewPrivileges", "SupplementaryGroups"),
        *("StateDirectoryMode", "CacheDirectoryMode", "RuntimeDirectoryMode", "UMask", "Group"),
    }
)
"""What llmagent's unit has of its own (agent.core.unit)."""

READ = frozenset({"ExecStart", "Environment", "EnvironmentFile", "User", "WorkingDirectory"})
_SILENT = frozenset({"Description", "Documentation", "WantedBy", "Alias"})
_USUAL = frozenset(
    {"network.target", "network-online.target", "nvidia-persistenced.service", "multi-user.target"}
)
_ORDER = ("After", "Wants", "Requires", "BindsTo", "PartOf", "Before")
_OF_THE_UNIT = (
    "Condition",
    "Assert",
    "OnFailure",
    "OnSuccess",
    "StartLimit",
    "Requisite",
    "Upholds",
)
"""How keys begin that stand under [Unit] (systemd.unit(5))."""

_CLEARING = frozenset({"ExecStartPre", "ExecStop", "ExecStopPost"})
_NO_FILE = "it cannot be read: it is not there, or only for root"
_SHEBANG = re.compile(r"#!\s*\S*?(?:env\s+)?(?:ba|da|z)?sh\b")
_SPECIFIER = re.compile(r"%([%A-Za-z])")
_TIDIES = re.compile(r"\b(docker|podman)\b.{0,400}\b(rm|stop|kill|pull)\b")


def usual_home(user: str) -> str:
    """Return the home that a user usually has."""
    return "/root" if user == "root" else f"/home/{user}"


def engine_of_unit(
    name: str, text: str, read: ReadText, home_of: Callable[[str], str] = usual_home
) -> Found:
    """Read a unit and its drop-ins, as `systemctl cat` prints them; raises NoEngineError.

    `read` gets the files of EnvironmentFile= and a script that ExecStart= names; `home_of` tells a
    user's home.
    """
    if name.removesuffix(".service").endswith("@") and re.search(r"(?<!%)%[iI]", text):
        raise NoEngineError(f"it is a template: name an instance, as {name.partition('@')[0]}@NAME")
    text = _SPECIFIER.sub(lambda found: _specified(name, found), text)
    command = unit_command(text)
    left = list(_left(text))
    environment = dict(command.environment)
    for file in command.files:
        content = read(file)
        if content is None:
            left.append(Left(f"EnvironmentFile={file}", _NO_FILE))
        else:
            environment |= variables_in(content)
    missing: list[str] = []
    words = expanded_words(command.words, environment, missing)
    left += [Left(f"${name}", "nothing sets it: write its value itself") for name in missing]
    for used in variables_of(command.words):
        if not MATTERS.fullmatch(used):
            environment.pop(used, None)
    single = _single(text)
    user = single.get("User", "root")
    base = Found(
        name.removesuffix(".service"),
        (),
        environment,
        user=user,
        home=home_of(user),
        directory=single.get("WorkingDirectory", "").lstrip("-"),
        left=tuple(left),
    )
    return engine_of_words(base, words, read)


def engine_of_words(base: Found, words: tuple[str, ...], read: ReadText) -> Found:
    """Return the engine that a whole command line starts, with what `base` knows of it.

    A script among the first words is read. Raises NoEngineError.
    """
    if starts_container(words):
        own, container = container_of_line(words)
        base = replace(base, left=(*base.left, *own))
        return engine_in(*_with_variables(base, container, read))
    if other := _something_else(words, base.directory):
        raise NoEngineError(other)
    script = _inline(words)
    if script is None:
        try:
            return _with(base, vllm_line(words), words, {})
        except NotVllmError as error:
            inner = carried(words)
            script = _script(words, read) if inner is None else (inner, "")
            if script is None:
                first = next((word for word in words if word.startswith("/")), "")
                told = f"; {first} is no shell script that can be read here" if first else ""
                raise NoEngineError(f"{error}{told}") from error
    text, place = script
    found = read_script(text, base, place or base.directory, read)
    left = (*base.left, *found.left, *found.beside.left())
    base = replace(base, left=left, directory=found.directory)
    if starts_container(found.words):
        around = {**base.environment, **found.exported}
        return engine_of_words(replace(base, environment=around), found.words, read)
    return _with(base, found.line, found.words, found.exported)


def _with_variables(base: Found, line: RunLine, read: ReadText) -> tuple[Found, RunLine]:
    """Read what --env-file names; what --env gives counts before it.

    Of the variables around the line the container gets those alone that --env names.
    """
    known: dict[str, str] = {}
    left = list(base.left)
    for file in line.environment_files:
        text = read(base.placed(file))
        if text is None:
            left.append(Left(f"--env-file {file}", _NO_FILE))
        else:
            known |= variables_in(text)
    for name in line.passed_on:
        if name in base.environment:
            known[name] = base.environment[name]
        else:
            left.append(Left(f"-e {name}", "its value is that of the shell: write it itself"))
    whole = tuple({**known, **dict(line.environment)}.items())
    return replace(base, left=tuple(left), environment={}), replace(line, environment=whole)


def _with(
    base: Found, line: VllmLine, words: tuple[str, ...], exported: Mapping[str, str]
) -> Found:
    before = before_vllm(words, base.directory, {**base.environment, **line.environment})
    told = "it stands before vLLM; see CPUAffinity=, NUMAPolicy=, Nice= for a drop-in of the unit"
    left = [Left(before.programs, told)] if before.programs else []
    if DEMO_SERVER in words:
        left.append(Left(DEMO_SERVER, OF_THE_DEMO))
    return replace(
        base,
        words=line.words,
        program=line.program if "/" in line.program else before.python or line.program,
        user=before.user or base.user,
        environment={**base.environment, **exported, **line.environment},
        left=(*base.left, *left),
        launcher=before.launcher,
    )


def _something_else(words: tuple[str, ...], directory: str) -> str:
    """Return what to name instead where a line starts what is described elsewhere."""
    names = [word.rpartition("/")[2] for word in words]
    files = [word for before, word in pairwise(words) if before in ("-f", "--file")]
    file = files[0] if files else f"{directory or 'DIR'}/compose.yml"
    for at, name in enumerate(names):
        if name in ("docker-compose", "podman-compose") or names[at : at + 2] == [
            "docker",
            "compose",
        ]:
            return f"it starts a compose file: `llmagent import {file}` reads that"
        if name in RUNTIMES and names[at + 1 : at + 2] == ["start"]:
            return f"it starts a container that is there: `llmagent import {names[-1]}` reads that"
    return ""


def _inline(words: tuple[str, ...]) -> tuple[str, str] | None:
    """Return what `sh -c TEXT` runs; None for another line, and where it is one command alone."""
    for at, word in enumerate(words[:-2]):
        flag = words[at + 1]
        if word.rpartition("/")[2] in SHELLS and flag.startswith("-") and flag.endswith("c"):
            return words[at + 2], ""
    return None


def _script(words: tuple[str, ...], read: ReadText) -> tuple[str, str] | None:
    for word in words[:3]:
        path = word if word.startswith("/") else ""
        text = read(path) if path else None
        if text is not None and is_makefile(path):
            return as_script(text), path.rpartition("/")[0]
        if text is not None and (_SHEBANG.match(text) or path.endswith(".sh")):
            return text, path.rpartition("/")[0]
    return None


def _specified(name: str, found: re.Match[str]) -> str:
    """Return what a specifier of systemd.unit(5) stands for in the unit `name`."""
    whole = name.removesuffix(".service")
    prefix, _, instance = whole.partition("@")
    values = {"i": instance, "I": instance, "p": prefix, "P": prefix, "N": whole}
    values |= {
        "n": f"{whole}.service",
        "h": "/root",
        "t": "/run",
        "S": "/var/lib",
        "C": "/var/cache",
    }
    return values.get(found[1], found[0])


def _single(text: str) -> dict[str, str]:
    """Return the last value of each key."""
    return {key: value for key, value in assignments(text) if value}


def _left(text: str) -> list[Left]:
    ours, left = [], []
    for key, value in assignments(text):
        if key in READ or key in _SILENT or not value:
            continue
        if key in OURS:
            ours.append(key)
        elif key in _ORDER:
            other = " ".join(unit for unit in value.split() if unit not in _USUAL)
            if other:
                left.append(Left(f"{key}={other}", _drop_in("Unit")))
        elif key in _CLEARING and _TIDIES.search(value):
            ours.append(key)
        elif key in ("ExecStartPre", "ExecStartPost", "ExecStop", "ExecStopPost", "ExecReload"):
            left.append(Left(f"{key}={value}", f"it is a program of its own; {_drop_in()}"))
        else:
            section = "Unit" if key.startswith(_OF_THE_UNIT) else "Service"
            left.append(Left(f"{key}={value}", _drop_in(section)))
    if ours:
        keys = ", ".join(f"{key}=" for key in dict.fromkeys(ours))
        left.append(Left(keys, "llmagent's unit has its own"))
    return left


def _drop_in(section: str = "Service") -> str:
    return f"put it under [{section}] of a drop-in (`systemctl edit`), which llmagent keeps"
