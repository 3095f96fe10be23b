# SPDX-License-Identifier: Apache-2.0
"""Whom an engine in a container runs as: the service's user where `strict` can, else root.

`strict` gives the engine the uid of the user vllm of this host and no capability. That needs an
image whose files are open to any user, directories that are the user's, and no option that only
root can use; what speaks against it is told, and the engine is root's uid with DAC_OVERRIDE then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.core.record import dataclass
from agent.core.settings.service import Sandbox, Settings
from agent.core.unit.environment import cache_directory, state_directory

FIRST_FOR_ANYBODY = (0, 23)
"""The first release whose image vllm-openai is surely made for other users than root: vLLM's pull
request 40275 opened its Python and gave it a user of its own (merged on 2026-05-25, ten days after
0.21.0). Older ones keep Python below /root (0.8.1, issue 15174) or were not looked at."""

_IMAGE = re.compile(r"(?:.*/)?vllm-openai(?:[:@].*)?")
_RELEASE = re.compile(r"(\d{1,4})\.(\d{1,4})\b")
_USER = ("--user=", "--userns=")
_OF_ROOT = ("--cap-add", "--privileged", "--group-add", "--security-opt", "--volume", "--mount")
"""Options that help root alone, or that put places into the container whose use nobody knows."""

ROOTS_OWN = "/root"
"""Closed in images to all but root, and so is what is mounted below it."""


@dataclass(frozen=True, slots=True)
class ContainerUser:
    """The ids that the engine gets in the container, and the name that they have on the host."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Places:
    """What of the host's the engine needs besides the unit's own directories, as absolute paths."""

    read: tuple[str, ...]
    written: tuple[str, ...]


def own_directories(settings: Settings) -> tuple[str, str]:
    """Return the unit's own directories, which systemd makes the user's."""
    return (f"/var/lib/{state_directory(settings)}", f"/var/cache/{cache_directory(settings)}")


def places_of(settings: Settings) -> Places:
    """Return what is mounted into the service's container besides the unit's own directories."""
    own = own_directories(settings)
    homes = (settings.environment.get(name, "") for name in ("HF_HOME", "HF_HUB_CACHE"))
    written = (*(home for home in homes if home.startswith("/")), *settings.writable_directories)
    files = (settings.model, settings.tokenizer, settings.chat_template, *settings.engine.mounts)
    read = dict.fromkeys(file for file in files if file is not None and file.startswith("/"))
    others = tuple(path for path in dict.fromkeys(written) if path not in own)
    return Places(tuple(path for path in read if path not in (*own, *others)), others)


def why_root(settings: Settings) -> str:
    """Return what in the settings keeps `strict` from giving the engine a user's id, "" if nothing.

    Nothing does where there is no container or another sandbox.
    """
    return next(_obstacles(settings), "") if _strict_in_container(settings) else ""


def wants_own_user(settings: Settings) -> bool:
    """Tell whether the engine is to have a user's id, if the host has all that this needs."""
    return _strict_in_container(settings) and not why_root(settings)


def other_user(settings: Settings) -> str:
    """Return the option by which the operator says whom the engine runs as, "" for none."""
    return next((o for o in settings.engine.extra_options if o.startswith(_USER)), "")


def own_user_options(user: ContainerUser | None) -> Iterator[str]:
    """Yield what gives the engine its user and takes root's capabilities, under `strict`."""
    yield "--cap-drop=ALL"
    if user is None:
        # A cache that belongs to somebody else, as a home's, must stay open to the image's root.
        yield "--cap-add=DAC_OVERRIDE"
        return
    yield f"--user={user.uid}:{user.gid}"
    # The image does not know the id: PyTorch looks the name up unless the environment has it.
    yield f"--env=USER={user.name}"
    yield f"--env=LOGNAME={user.name}"


def left_open(settings: Settings, why: str) -> str:
    """Return what `strict` does not confine, where vLLM runs in a container; "" elsewhere.

    `why` tells what keeps the engine from a user's id, "" where it has one.
    """
    if not _strict_in_container(settings):
        return ""
    if option := other_user(settings):
        uid = f"the engine's uid is what {option} says, "
    elif why:
        uid = f"the engine has root's uid, with DAC_OVERRIDE of root's capabilities ({why}), "
    else:
        uid = ""
    also = (
        f"it has the host's whole network, and the client of {settings.engine.runtime.value} runs"
        " as root without a sandbox"
    )
    return (
        "in a container, strict gives the engine shared memory of its own and no new privileges"
        f"{'' if why or option else f', the user {settings.user} and no capability'}"
        f", but not the rest that it does without one: {uid}{also}"
    )


def _strict_in_container(settings: Settings) -> bool:
    return settings.engine.in_container and settings.sandbox is Sandbox.STRICT


def _obstacles(settings: Settings) -> Iterator[str]:
    engine = settings.engine
    if option := other_user(settings):
        yield f"{option} says whom it runs as"
    if not _IMAGE.fullmatch(engine.image or ""):
        yield "only of vLLM's own image, vllm-openai, it is known that any user can run it"
    found = _RELEASE.match((engine.version or "").removeprefix("v"))
    oldest = ".".join(map(str, FIRST_FOR_ANYBODY))
    if found is None:
        yield f"the image's release is not known; any user can run vllm-openai {oldest} and newer"
    elif (int(found[1]), int(found[2])) < FIRST_FOR_ANYBODY:
        yield f"images before {oldest} are made for root"
    for option in engine.extra_options:
        if option.startswith(_OF_ROOT):
            yield f"{option.partition('=')[0]} of extra_options may need root"
    places = places_of(settings)
    for path in (*places.read, *places.written):
        if path == ROOTS_OWN or path.startswith(f"{ROOTS_OWN}/"):
            yield f"{path} lies below /root, which images close to all but root"
