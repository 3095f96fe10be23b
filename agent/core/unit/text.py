# SPDX-License-Identifier: Apache-2.0
"""Settings -> the whole text of the unit that runs vLLM.

The directives are those that real vLLM 0.32 was measured to run under (systemd 252 and 257).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agent.core.engine.command_line import command_line
from agent.core.engine.credentials import CREDENTIALS
from agent.core.engine.install import Engine
from agent.core.record import dataclass
from agent.core.settings.service import Settings, Tunable, value_text
from agent.core.settings.switches import is_switch
from agent.core.unit.container import container_lines, ordering, started_command
from agent.core.unit.container_user import ContainerUser
from agent.core.unit.environment import (
    cache_directory,
    environment_of,
    listens,
    loopback_only,
    socket_directory,
    state_directory,
)
from agent.core.unit.quiet import OFFLINE, quiet_said
from agent.core.unit.quoting import argument, assignment, comment, value
from agent.core.unit.sandbox import sandbox_lines

RESTART_SECONDS = 30
"""How long systemd waits before it restarts vLLM by itself: far above the agent's own reaction."""

STOP_MARGIN_SECONDS = 15
"""What a stop may take besides the requests in flight (RUN 0.32: 3 s) before systemd ends it."""


@dataclass(frozen=True, slots=True)
class UnitInputs:
    """What the unit depends on and only the host knows.

    `groups` are those of video and render that exist (a missing one ends the start with 216/GROUP).
    `nvidia_devices` tells whether NVIDIA's driver is there. `read_paths` are directories outside
    the system's own that vLLM must read: its virtual environment, that one's base interpreter.
    `needs_no_hub`: all that vLLM would ask the hub for is in its cache. `container_user` is whom an
    engine in a container runs as, None for root.
    """

    groups: frozenset[str] = frozenset()
    nvidia_devices: bool = False
    read_paths: tuple[str, ...] = ()
    needs_no_hub: bool = False
    container_user: ContainerUser | None = None


def render_unit(
    settings: Settings, engine: Engine, host: UnitInputs, notes: tuple[str, ...] = ()
) -> str:
    """Return the text of NAME.service; `notes` say what differs from agent.toml, and why."""
    sections = (
        _head(settings, notes),
        "[Unit]\n" + _lines(_unit_lines(settings)),
        "[Service]\n" + _lines(_service_lines(settings, engine, host)),
        "[Install]\nWantedBy=multi-user.target\n",
    )
    return "\n".join(sections)


def override_note(name: str, asked: Tunable | None, running: Tunable, why: str) -> str:
    """Return the sentence about a learned value, as the unit's comment and status show it."""
    if is_switch(name):
        return f"{name}: set by llmagent: {why}"
    return f"{name}: asked {value_text(asked)}, running {value_text(running)}: {why}"


def _head(settings: Settings, notes: tuple[str, ...]) -> str:
    lines = (
        f"Written by llmagent from [service.{settings.name}] of its agent.toml, and written anew",
        "whenever that changes. Settings: /etc/llmagent/agent.toml, `systemctl reload llmagent`.",
        f"All else: `systemctl edit {settings.unit}`; that drop-in of yours is kept.",
        *notes,
    )
    return "".join(comment(line) for line in lines)


def _unit_lines(settings: Settings) -> Iterator[str]:
    yield f"Description={value(f'vLLM serving {settings.model}, kept by llmagent')}"
    yield "Documentation=man:llmagent(1)"
    yield "After=network-online.target nvidia-persistenced.service"
    yield "Wants=network-online.target"
    yield from ordering(settings)
    if settings.cluster is not None and settings.cluster.starts_ray:
        # Loaded, as below, by who meets other hosts by Ray: memory.
        from agent.core.unit.ray import ray_unit_name

        # Not BindsTo=: where Ray ends by itself, vLLM ends too, and that is told and cured as such.
        yield f"Requires={ray_unit_name(settings)}"
        yield f"After={ray_unit_name(settings)}"
    yield "StartLimitIntervalSec=0"


def _service_lines(settings: Settings, engine: Engine, host: UnitInputs) -> Iterator[str]:
    yield "Type=exec"
    if host.nvidia_devices:
        # Loads nvidia-uvm and makes its device nodes, before systemd looks up what to allow.
        yield "ExecStartPre=+-/usr/bin/nvidia-modprobe -u -c 0"
    # A hub that is away, at night, would keep a model that is complete from starting again.
    offline = {OFFLINE: "1"} if host.needs_no_hub else {}
    said = [f"# {line}" for line in quiet_said(settings, needs_no_hub=host.needs_no_hub)]
    if settings.engine.in_container:
        user = host.container_user
        start = exec_start(settings, engine, user)
        yield from container_lines(settings, user, start, RESTART_SECONDS)
        yield from _credential(settings, CREDENTIALS)
        yield from said
        yield from (f"Environment={assignment(*item)}" for item in offline.items())
        return
    environment = offline | dict(environment_of(settings))
    yield from _process_lines(settings, engine, host)
    yield from said
    yield from (f"Environment={assignment(*item)}" for item in environment.items())
    yield from sandbox_lines(settings, host.read_paths, loopback_only=loopback_only(settings))


def _process_lines(settings: Settings, engine: Engine, host: UnitInputs) -> Iterator[str]:
    yield f"ExecStart={exec_start(settings, engine)}"
    if not settings.headless:  # it has no requests of its own that could end
        yield f"ExecStop=-/bin/bash -c {argument(_stop_script(settings))}"
    yield "KillMode=control-group"
    yield "KillSignal=SIGKILL"
    yield from account_lines(settings, host)
    yield "Restart=always"
    yield f"RestartSec={RESTART_SECONDS}"
    yield "TimeoutStartSec=infinity"
    yield f"TimeoutStopSec={settings.shutdown_timeout + STOP_MARGIN_SECONDS}"
    yield from directory_lines(settings)
    yield "UMask=0077"
    if settings.uds is not None:
        yield f"RuntimeDirectory={socket_directory(settings.uds)}"
        # Who is in the group of the service's user may use its socket, which is open to them all.
        yield "RuntimeDirectoryMode=0750"
    yield f"SyslogIdentifier={settings.name}"
    yield from limit_lines()
    yield from credential_lines(settings)
    yield from _credential(settings, (name for name in CREDENTIALS if name != "hf_token_file"))


def account_lines(settings: Settings, host: UnitInputs) -> Iterator[str]:
    """Return whom the engine's processes run as."""
    yield f"User={settings.user}"
    if host.groups:
        yield f"SupplementaryGroups={' '.join(sorted(host.groups))}"


def directory_lines(settings: Settings) -> Iterator[str]:
    """Return where the engine's processes may write."""
    yield f"StateDirectory={state_directory(settings)}"
    yield "StateDirectoryMode=0750"
    yield f"CacheDirectory={cache_directory(settings)}"
    yield "CacheDirectoryMode=0750"
    yield f"WorkingDirectory=/var/lib/{state_directory(settings)}"


def limit_lines() -> Iterator[str]:
    """Return what the engine's processes need without a bound, and what they must not take."""
    yield "LogRateLimitIntervalSec=30s"
    yield "LogRateLimitBurst=1000000"
    yield "LimitNOFILE=1048576"
    yield "LimitMEMLOCK=infinity"
    yield "LimitCORE=0"
    yield "TasksMax=infinity"
    yield "OOMPolicy=stop"
    yield "OOMScoreAdjust=500"


def credential_lines(settings: Settings) -> Iterator[str]:
    """Return how the unit hands the hub's token to its process, which alone can read it."""
    yield from _credential(settings)
    if settings.hf_token_file is not None:
        yield f"Environment=HF_TOKEN_PATH=%d/{CREDENTIALS['hf_token_file']}"


def _credential(settings: Settings, names: Iterable[str] = ("hf_token_file",)) -> Iterator[str]:
    for name in names:
        if (file := getattr(settings, name)) is not None:
            yield f"LoadCredential={CREDENTIALS[name]}:{value(file)}"


def _stop_script(settings: Settings) -> str:
    """Return the script that asks a serving vLLM to stop; whatever is left is killed after it.

    RUN 0.32: SIGTERM to the main process alone lets the requests in flight end; sent to all, as
    KillMode=control-group would, it ends the workers and the requests with them. While the engine
    starts, it is swallowed by all but the workers. vLLM listens only once it serves.
    """
    looks = 5 * (settings.shutdown_timeout + STOP_MARGIN_SECONDS // 2)
    return (
        f"{listens(settings)} || exit 0; "
        "kill -TERM $MAINPID; "
        f"for ((i = 0; i < {looks}; i++)); do "
        "kill -0 $MAINPID 2>/dev/null || exit 0; sleep 0.2; done"
    )


def exec_start(settings: Settings, engine: Engine, user: ContainerUser | None = None) -> str:
    """Return the value of ExecStart= for these settings; `user` as in UnitInputs."""
    if settings.engine.in_container:
        return f"+{_exec(started_command(settings, engine, user))}"
    if settings.cluster is not None and settings.cluster.ray_port and settings.headless:
        from agent.core.unit.ray import join_command

        return _exec(join_command(settings))
    return _exec(command_line(settings, engine))


def _exec(argv: tuple[str, ...]) -> str:
    """Return the command line with one flag a line, for those who read it."""
    first, *rest = argv
    new_line = " \\\n    "
    return argument(first) + "".join(
        f"{new_line if word.startswith('--') else ' '}{argument(word)}" for word in rest
    )


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
