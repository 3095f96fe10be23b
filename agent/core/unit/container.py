# SPDX-License-Identifier: Apache-2.0
"""The [Service] part of a unit whose vLLM runs in a container of podman or docker.

The unit's own process is the client, which runs as root and unconfined: what confines vLLM is the
container. With podman the engine's processes are in the unit's control group, so that a kill of the
unit is its end, and systemd's and the agent's figures are theirs. With docker they are in a group
of the docker daemon: what systemd says of the unit's processes, CPU time and memory is the
client's, leftovers in the group are not seen, and only ExecStopPost= ends the engine of a client
that was killed. NVML's processes and those that evidence is taken of are known by the container's
id.
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.core.engine.install import Engine
from agent.core.engine.runtimes.every import runtime_of
from agent.core.settings.service import Sandbox, Settings
from agent.core.unit.container_command import (
    DRAIN_MARGIN_SECONDS,
    LABEL,
    OOM_SCORE_ADJUST,
    RUNTIME_DIRECTORY,
    container_command,
    stop_seconds,
)
from agent.core.unit.container_user import ContainerUser, own_directories
from agent.core.unit.environment import (
    cache_directory,
    listens,
    socket_directory,
    state_directory,
)
from agent.core.unit.quoting import argument

ANSWER_SECONDS = 20
"""How long a daemon may take to answer; one that was just started takes some seconds."""

QUICK_ANSWER_SECONDS = 5
"""How long a stop waits for a daemon's word before it does without; in its margin of time."""

WENT_ON = "docker's daemon is back, and the engine went on without it"
"""What the unit prints when a client follows the engine again; signatures/container.toml has it."""


_TAKE_GROUP = (
    'chown root: "/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)" 2>/dev/null; exec "$@"'
)


def ordering(settings: Settings) -> Iterator[str]:
    """Return what of [Unit] a container needs besides."""
    if settings.engine.in_container:
        yield from runtime_of(settings.engine).ordering


def container_lines(
    settings: Settings, user: ContainerUser | None, start: str, seconds_to_restart: int
) -> Iterator[str]:
    """Return the directives; `start` is the value of ExecStart=, `user` is whom the engine runs as.

    The unit has the service's user, so that systemd makes the directories and the credentials that
    user's, whoever had them before; the commands have root's rights all the same (their "+").
    """
    name = settings.name
    if settings.sandbox is Sandbox.STRICT:
        yield from _strict_said(user)
    yield from client_lines(settings, user)
    yield f"ExecStartPre=+/bin/bash -c {argument(clear_script(settings, settings.name))}"
    yield f"ExecStart={start}"
    yield f"ExecStop=-+/bin/bash -c {argument(_stop_script(settings))}"
    yield f"ExecStopPost=-+/bin/bash -c {argument(end_script(settings, settings.name))}"
    yield "KillMode=control-group"
    yield "KillSignal=SIGKILL"
    if runtime_of(settings.engine).in_control_group:
        yield "Delegate=yes"
    yield "Restart=always"
    yield f"RestartSec={seconds_to_restart}"
    yield "TimeoutStartSec=infinity"
    yield f"TimeoutStopSec={stop_seconds(settings) + DRAIN_MARGIN_SECONDS + 1}"
    yield f"StateDirectory={state_directory(settings)}"
    yield "StateDirectoryMode=0750"
    yield f"CacheDirectory={cache_directory(settings)}"
    yield "CacheDirectoryMode=0750"
    if settings.uds is not None:
        yield f"RuntimeDirectory={socket_directory(settings.uds)}"
        yield "RuntimeDirectoryMode=0750"  # what listens there is open to who may enter
    yield f"SyslogIdentifier={name}"
    yield "LogRateLimitIntervalSec=30s"
    yield "LogRateLimitBurst=1000000"
    yield "LimitCORE=0"
    yield "TasksMax=infinity"
    yield "OOMPolicy=stop"
    yield f"OOMScoreAdjust={OOM_SCORE_ADJUST}"


def client_lines(settings: Settings, user: ContainerUser | None) -> Iterator[str]:
    """Return whose the unit's directories and credentials are, and where its client is at home."""
    yield f"User={settings.user}"
    # The client is root: what it logged in to is in root's home.
    yield "Environment=HOME=/root"
    if user is not None:
        yield f"ExecStartPre=-+/bin/bash -c {argument(_hand_over_script(settings, user))}"


def _strict_said(user: ContainerUser | None) -> Iterator[str]:
    if user is None:
        yield "# strict, in a container: no host IPC, no new privileges, of root's capabilities"
        yield "# DAC_OVERRIDE alone. Not confined: the engine is root's uid, on the host's network."
        return
    yield "# strict, in a container: no host IPC, no new privileges, no capability, and the id of"
    yield f"# the user {user.name}. Not confined: the engine is on the host's network."


def _hand_over_script(settings: Settings, user: ContainerUser) -> str:
    """Return the script that makes the user's what an engine that was root has left there.

    systemd looks at the directories themselves alone. Neither program follows a link.
    """
    places = " ".join(own_directories(settings))
    return (
        f'[ -z "$(find {places} ! -uid {user.uid} -print -quit)" ] || '
        f"chown --recursive --no-dereference {user.uid}:{user.gid} {places}"
    )


def end_script(settings: Settings, name: str) -> str:
    """Return the script that leaves nothing of the containers of that name."""
    return f"{remove_script(settings, name)}; rm -rf /run/{RUNTIME_DIRECTORY}/{name}"


def remove_script(settings: Settings, name: str) -> str:
    """Return the script that removes the containers of that name: those with our label alone.

    Where a daemon keeps the engine and does not answer, its processes are ended without it: they
    are known by the container's id in their control groups.
    """
    run = runtime_of(settings.engine)
    cid = _id_file(name)
    if run.in_control_group:
        return f"rm -f {cid}; {_remove_all(run.program, name)}"
    return (
        f"own=$(cat {cid} 2>/dev/null); rm -f {cid}; "
        f"{{ {_remove_all(f'timeout {ANSWER_SECONDS} {run.program}', name)}; }} || "
        '[ -z "$own" ] || grep -ls "$own" /proc/[0-9]*/cgroup | cut -d/ -f3 | '
        "xargs -r kill -KILL 2>/dev/null"
    )


def _remove_all(run: str, name: str) -> str:
    """Return the commands; their status is not 0 where nobody could say which are there."""
    return (
        f"ids=$({run} ps --all --quiet --no-trunc --filter=label={LABEL}={name}) && "
        # podman 5.4 fails the first time where conmon has been killed (RUN).
        f"for id in $ids; do {run} rm --force --volumes $id >/dev/null 2>&1 || "
        f"{run} rm --force --volumes $id >/dev/null; done"
    )


def clear_script(settings: Settings, name: str) -> str:
    """Return the script that makes room for the name, but not at the cost of a stranger."""
    run = runtime_of(settings.engine)
    asks = run.program
    answers = ""
    if not run.in_control_group:
        # A client waits for ever for a daemon that hangs; systemd does, too, for what it starts.
        asks = f"timeout {ANSWER_SECONDS} {run.program}"
        answers = (
            f"{asks} version >/dev/null 2>&1 || {{ "
            f'echo "Cannot connect to the Docker daemon: no answer in {ANSWER_SECONDS} s" >&2; '
            "exit 1; }; "
        )
    # Not the unit's RuntimeDirectory=, which would be the user's: root believes what is in it.
    return (
        f"mkdir -p /run/{RUNTIME_DIRECTORY}/{name}; "
        f"{answers}{remove_script(settings, name)}; "
        f"if {asks} container inspect {name} >/dev/null 2>&1; then "
        f'echo "a container named {name} is there that llmagent did not make; '
        f'rename it ({run.program} rename {name} NEW) or give the service another name" >&2; '
        "exit 1; fi"
    )


def started_command(
    settings: Settings, engine: Engine, user: ContainerUser | None
) -> tuple[str, ...]:
    """Return the argv of the unit's process: the client, or what keeps one beside the engine.

    docker's daemon may be set to leave containers running while it restarts (live-restore). Its
    client ends then, the engine does not: it gets another client, and its outage is none. Raises
    ValueError for settings without an image.
    """
    command = container_command(settings, engine, user)
    if runtime_of(settings.engine).in_control_group:
        return in_own_group(settings, command)
    return ("/bin/bash", "-c", _keep_client_script(settings), settings.name, *command)


def in_own_group(settings: Settings, command: tuple[str, ...]) -> tuple[str, ...]:
    """Return the argv that keeps a client in the unit's control group, where it would leave that.

    systemd gives the group of a unit with Delegate= to its User=, and podman 5 moves itself out of
    one that is not its own user's (UserOwnsCurrentSystemdCgroup in its pkg/domain/infra).
    """
    if not runtime_of(settings.engine).in_control_group:
        return command
    return ("/bin/bash", "-c", _TAKE_GROUP, settings.name, *command)


def _keep_client_script(settings: Settings) -> str:
    run = runtime_of(settings.engine).program
    return (
        '"$@"; status=$?; '
        f"while id=$(cat {_id_file(settings.name)} 2>/dev/null) && "
        '[ -n "$id" ] && grep -qs "$id" /proc/[0-9]*/cgroup; do '
        f'if [ "$({run} container inspect -f {{{{.State.Running}}}} $id 2>/dev/null)" = true ]; '
        f'then echo "{WENT_ON}"; '
        f"{run} attach --no-stdin --sig-proxy=false $id; status=$?; "
        "else sleep 1; fi; done; exit $status"
    )


def _id_file(name: str) -> str:
    return f"/run/{RUNTIME_DIRECTORY}/{name}/cid"


def _stop_script(settings: Settings) -> str:
    """Return the script that asks a serving vLLM to stop; while it starts it swallows SIGTERM.

    Where a daemon keeps the engine and does not answer, the container's first process is signaled
    without it, as the daemon would: requests in flight end all the same.
    """
    run = runtime_of(settings.engine)
    stop = f"exec {run.program} stop --time={stop_seconds(settings)} {settings.name} >/dev/null"
    if run.in_control_group:
        return f"{listens(settings)} || exit 0; {stop}"
    return (
        f"{listens(settings)} || exit 0; "
        f"! timeout {QUICK_ANSWER_SECONDS} {run.program} version >/dev/null 2>&1 || {stop}; "
        f"own=$(cat {_id_file(settings.name)}) && "
        'for pid in $(grep -ls "$own" /proc/[0-9]*/cgroup | cut -d/ -f3); do '
        'grep -qs "^NSpid:.*[^0-9]1$" /proc/$pid/status && break; done && '
        f"kill -TERM $pid && for ((i = 0; i < {stop_seconds(settings)}; i++)); do "
        "kill -0 $pid 2>/dev/null || break; sleep 1; done"
    )
