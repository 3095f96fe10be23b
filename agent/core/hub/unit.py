# SPDX-License-Identifier: Apache-2.0
"""Settings -> the text of the unit that fetches the model before the service starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from agent.core.engine.install import Engine
from agent.core.engine.runtimes.every import runtime_of
from agent.core.hub.cache import repositories
from agent.core.settings.service import Settings
from agent.core.unit.container import (
    clear_script,
    client_lines,
    end_script,
    in_own_group,
    ordering,
)
from agent.core.unit.container_command import fetch_command
from agent.core.unit.container_user import ContainerUser
from agent.core.unit.environment import cache_directory, environment_of, state_directory
from agent.core.unit.quoting import argument, assignment, comment, value
from agent.core.unit.sandbox import sandbox_lines
from agent.core.unit.text import credential_lines

RESERVE_BYTES = 1 << 30
"""Left free on the file system of the cache: what vLLM compiles and logs goes there too."""


def fetch_unit_name(service: str) -> str:
    """Return the name of the unit that fetches for a service."""
    return f"{service}-fetch.service"


def render_fetch_unit(
    settings: Settings,
    engine: Engine,
    code: str,
    read_paths: tuple[str, ...],
    *,
    repair: bool,
    container_user: ContainerUser | None = None,
) -> str:
    """Return the text of NAME-fetch.service; `code` is the directory that holds the package.

    `read_paths` and `container_user` as in UnitInputs.
    """
    head = (
        f"Written by llmagent: fetches the model of {settings.unit} before that one starts.",
        f"All else: `systemctl edit {fetch_unit_name(settings.name)}`.",
    )
    environment = {
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        # What it has written when it breaks off has holes, so that no other can go on there.
        "HF_HUB_ENABLE_HF_TRANSFER": "0",
        "PYTHONPATH": code,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if settings.engine.in_container:
        words = tuple(_words(settings, engine, repair=repair))
        service = (*_container(settings, container_user, words, code, environment),)
    else:
        service = (
            *_process(settings, engine, repair=repair),
            *(
                f"Environment={assignment(*item)}"
                for item in {**environment_of(settings), **environment}.items()
            ),
            *sandbox_lines(settings, read_paths, loopback_only=False),
        )
    lines = (
        *(comment(line).rstrip("\n") for line in head),
        "",
        "[Unit]",
        f"Description={value(f'fetches {settings.model} for {settings.unit}')}",
        "Documentation=man:llmagent(1)",
        "After=network-online.target",
        "Wants=network-online.target",
        *ordering(settings),
        "",
        "[Service]",
        *service,
    )
    return "".join(f"{line}\n" for line in lines)


def _process(settings: Settings, engine: Engine, *, repair: bool) -> Iterator[str]:
    yield from _common(settings, (settings.python, *_words(settings, engine, repair=repair)))
    yield "TimeoutStopSec=10"
    yield f"User={settings.user}"
    yield f"WorkingDirectory=/var/lib/{state_directory(settings)}"
    yield "UMask=0077"
    yield "LimitNOFILE=65536"
    yield from credential_lines(settings)


def _container(
    settings: Settings,
    user: ContainerUser | None,
    words: tuple[str, ...],
    code: str,
    environment: Mapping[str, str],
) -> Iterator[str]:
    """Return the same for a container, whose Python as process 1 would not hear a SIGTERM."""
    name = fetch_unit_name(settings.name).removesuffix(".service")
    yield from client_lines(settings, user)
    yield f"ExecStartPre=+/bin/bash -c {argument(clear_script(settings, name))}"
    command = in_own_group(settings, fetch_command(settings, user, name, words, code, environment))
    yield from _common(settings, command, "+")
    yield f"ExecStopPost=-+/bin/bash -c {argument(end_script(settings, name))}"
    yield "KillSignal=SIGKILL"
    yield "TimeoutStopSec=20"
    if runtime_of(settings.engine).in_control_group:
        yield "Delegate=yes"
    yield from credential_lines(settings)


def _common(settings: Settings, command: Iterable[str], rights: str = "") -> Iterator[str]:
    yield "Type=exec"
    # What it came to can be read as long as nobody starts it again.
    yield "RemainAfterExit=yes"
    yield f"ExecStart={rights}{' '.join(map(argument, command))}"
    yield f"StateDirectory={state_directory(settings)}"
    yield "StateDirectoryMode=0750"
    yield f"CacheDirectory={cache_directory(settings)}"
    yield "CacheDirectoryMode=0750"
    yield f"SyslogIdentifier={settings.name}-fetch"
    # Another service may be serving from the same disk and the same cores.
    yield "Nice=10"
    yield "IOSchedulingClass=best-effort"
    yield "IOSchedulingPriority=7"
    yield "LimitCORE=0"
    yield "OOMScoreAdjust=800"
    # A hub's answer may have no end, and huggingface_hub reads it whole. What is written is the
    # page cache's, which gives way; hf_xet takes a few GiB.
    yield "MemoryMax=50%"
    yield "TasksMax=1024"


def _words(settings: Settings, engine: Engine, *, repair: bool) -> Iterator[str]:
    """Return what follows the interpreter."""
    model, *others = repositories(settings)
    yield from ("-m", "agent.fetch")
    yield f"--model={model.name}"
    yield f"--revision={model.revision}"
    yield from (f"--tokenizer={other.name}" for other in others)
    yield f"--reserve={RESERVE_BYTES}"
    if engine.at_least(0, 12):
        yield "--mistral-format"
    if repair:
        yield "--repair"
