# SPDX-License-Identifier: Apache-2.0
"""The command line of podman or docker that runs vLLM in a container.

What vLLM reads and writes has the same path inside as outside, so that every path in the settings
and in the environment holds on both sides. The network is the host's: `host` and `port` are what
vLLM listens on. NVIDIA's and vLLM's image differ in their entry points, so theirs is not used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import assert_never

from agent.core.engine.command_line import command_line
from agent.core.engine.credentials import CREDENTIALS, credential_path, credentials_directory
from agent.core.engine.install import Engine
from agent.core.engine.runtimes.every import runtime_of
from agent.core.settings.engine import GpuAccess
from agent.core.settings.service import Sandbox, Settings
from agent.core.unit.container_user import (
    ContainerUser,
    own_directories,
    own_user_options,
    places_of,
)
from agent.core.unit.environment import environment_of, state_directory
from agent.core.unit.quiet import OFFLINE

LABEL = "llmagent.service"
"""Its value is the service's name; a container that has it is ours."""

RUNTIME_DIRECTORY = "llmagent-containers"
"""Below /run: NAME/cid holds the id of the service's container."""

OOM_SCORE_ADJUST = 500
DRAIN_MARGIN_SECONDS = 7
SHARED_MEMORY = "16g"

_NOT_INSIDE = frozenset({"PATH", "CUDA_VISIBLE_DEVICES"})
"""The image has programs of its own, and the container sees only GPUs of the service."""

_DIRECTORY = "CREDENTIALS_DIRECTORY"

_LIMITS = ("memlock=-1:-1", "stack=67108864:67108864", "nofile=1048576:1048576", "core=0:0")


def stop_seconds(settings: Settings) -> int:
    """Return how long a serving vLLM may take to end its requests and itself."""
    return settings.shutdown_timeout + DRAIN_MARGIN_SECONDS


def container_command(
    settings: Settings, engine: Engine, user: ContainerUser | None
) -> tuple[str, ...]:
    """Return the whole argv: each option one word, no secret in any; vLLM's own words at the end.

    `user` is whom `strict` has it run as, None for root.

    Raises ValueError for settings without an image.
    """
    if settings.engine.image is None:
        raise ValueError(f"service {settings.name} has no image")
    entry, *before = settings.engine.entrypoint
    return (
        runtime_of(settings.engine).program,
        "run",
        *_identity(settings, settings.name),
        *_removal(settings),
        *_stopping(settings),
        *_shared_memory(settings),
        *_limits(settings, user),
        *_gpus(settings),
        *_mounts(settings, settings.unit),
        *_given(container_environment(settings, settings.unit)),
        *_passed_on(settings),
        *settings.engine.extra_options,
        f"--entrypoint={entry}",
        settings.engine.image,
        *before,
        *command_line(settings, engine)[1:],
    )


def fetch_command(
    settings: Settings,
    user: ContainerUser | None,
    name: str,
    words: Sequence[str],
    code: str,
    environment: Mapping[str, str],
) -> tuple[str, ...]:
    """Return the argv that runs Python with `words` in the image, with caches, token and no GPU.

    `name` is the container's, and its unit's without ".service"; `code` is a directory that it
    sees besides, `environment` is added to the service's. Raises ValueError without an image.
    """
    if settings.engine.image is None:
        raise ValueError(f"service {settings.name} has no image")
    entry, *before = settings.engine.entrypoint
    unit = f"{name}.service"
    return (
        runtime_of(settings.engine).program,
        "run",
        *_identity(settings, name),
        "--rm",
        *_limits(settings, user),
        *_mounts(settings, unit),
        f"--mount={_bind(code)},readonly",
        *_given({**container_environment(settings, unit), **environment}),
        *settings.engine.extra_options,
        f"--entrypoint={entry}",
        settings.engine.image,
        *before,
        *words,
    )


def container_environment(settings: Settings, unit: str) -> Mapping[str, str]:
    """Return the environment that is added to the image's own, in the container of `unit`."""
    own = {k: v for k, v in environment_of(settings).items() if k not in _NOT_INSIDE}
    given = dict(settings.environment)
    token = {} if settings.hf_token_file is None else {"HF_TOKEN_PATH": _credential(unit)}
    keys = {} if settings.api_key_file is None else {_DIRECTORY: credentials_directory(unit)}
    return own | token | keys | {k: v for k, v in given.items() if k not in own}


def _passed_on(settings: Settings) -> Iterator[str]:
    """Yield what the container gets where the unit's own environment has it."""
    if OFFLINE not in settings.environment:
        yield f"--env={OFFLINE}"


def _given(environment: Mapping[str, str]) -> Iterator[str]:
    yield from (f"--env={name}={value}" for name, value in environment.items())


def _stopping(settings: Settings) -> Iterator[str]:
    yield "--stop-signal=SIGTERM"
    # For whoever stops it by hand, and for docker's daemon when it ends.
    yield f"--stop-timeout={stop_seconds(settings)}"


def _identity(settings: Settings, name: str) -> Iterator[str]:
    yield f"--name={name}"
    yield f"--label={LABEL}={name}"
    yield f"--cidfile=/run/{RUNTIME_DIRECTORY}/{name}/cid"
    yield f"--pull={'missing' if settings.engine.pull else 'never'}"
    yield "--network=host"
    yield "--no-healthcheck"
    # /workspace and the like may hold a directory "vllm", which python -m would import.
    yield f"--workdir=/var/lib/{state_directory(settings)}"
    yield from runtime_of(settings.engine).run_options


def _removal(settings: Settings) -> Iterator[str]:
    """Yield what leaves nothing behind of what has ended; the unit does so, too, when it ends.

    docker's daemon ends and removes whatever has --rm when it starts, even where live-restore is
    set and the engine runs (moby issue 46308, mended by pull request 46857 in 24.0.8 and 25.0).
    """
    if runtime_of(settings.engine).in_control_group:
        yield "--rm"


def _shared_memory(settings: Settings) -> Iterator[str]:
    """Yield NVIDIA's advice on shared memory, under `strict` without all of the host's.

    NCCL and vLLM's queues take some hundred MiB for each GPU; what is not used costs nothing.
    """
    if settings.sandbox is Sandbox.STRICT:
        yield "--ipc=private"
        yield f"--shm-size={SHARED_MEMORY}"
    else:
        yield "--ipc=host"


def _limits(settings: Settings, user: ContainerUser | None) -> Iterator[str]:
    yield from (f"--ulimit={limit}" for limit in _LIMITS)
    yield "--pids-limit=-1"
    yield f"--oom-score-adj={OOM_SCORE_ADJUST}"
    if settings.sandbox is Sandbox.OFF:
        return
    yield "--security-opt=no-new-privileges"
    if settings.sandbox is Sandbox.STRICT:
        yield from own_user_options(user)


def _gpus(settings: Settings) -> Iterator[str]:
    match settings.engine.access:
        case GpuAccess.CDI:
            yield from (f"--device=nvidia.com/gpu={gpu}" for gpu in settings.gpus)
        case GpuAccess.GPUS if settings.gpus == ("all",):
            yield "--gpus=all"
        case GpuAccess.GPUS:
            # docker reads comma-separated values here: the quotes keep the list in one of them.
            yield f'--gpus="device={",".join(settings.gpus)}"'
        case GpuAccess.NONE | GpuAccess.AUTO:
            return
        case _ as never:
            assert_never(never)


def _mounts(settings: Settings, unit: str) -> Iterator[str]:
    places = places_of(settings)
    socket = () if settings.uds is None else (settings.uds.rpartition("/")[0],)
    written = tuple(dict.fromkeys((*own_directories(settings), *places.written, *socket)))
    yield from (f"--mount={_bind(path)}{_no_setuid(settings)}" for path in written)
    yield from (f"--mount={_bind(path)},readonly" for path in places.read if path not in written)
    for name, credential in CREDENTIALS.items():
        # A unit that only fetches has the hub's token alone.
        if getattr(settings, name) is not None and (
            unit == settings.unit or name == "hf_token_file"
        ):
            yield f"--mount={_bind(credential_path(unit, credential))},readonly"


def _no_setuid(settings: Settings) -> str:
    """Return what keeps the image's root from leaving setuid programs, where there is a word.

    Without one the directories of ours are closed to all but root (mode 0750).
    """
    if settings.sandbox is Sandbox.OFF:
        return ""
    return "".join(f",{word}" for word in runtime_of(settings.engine).no_setuid)


def _bind(path: str) -> str:
    return f"type=bind,source={path},target={path}"


def _credential(unit: str) -> str:
    return credential_path(unit, CREDENTIALS["hf_token_file"])
