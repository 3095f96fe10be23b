# SPDX-License-Identifier: Apache-2.0
"""The engine's own help, which names every flag that it has.

It takes 8 to 30 s, as vLLM imports everything first; so the text is kept until vLLM changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import signal
import subprocess
import tempfile
from pathlib import Path

from agent.core.engine.flags import parse_help
from agent.core.engine.install import EngineInstall
from agent.errors import HostLacksError
from agent.places import ENGINE_HELP_DIRECTORY

DEADLINE_SECONDS = 120.0

FEWEST_FLAGS = 50
"""A help with fewer flags is not the whole (vLLM 0.6 has 150, 0.32 has 407)."""

_COMMANDS = (
    ("vllm.entrypoints.openai.api_server", "--help=all"),  # 0.11..0.32 group them without "all"
    ("vllm.entrypoints.openai.api_server", "--help"),  # before
    ("vllm.entrypoints.cli.main", "serve", "--help=all"),  # once the module above is gone
)


def cache_directory() -> Path:
    """Return where helps are kept: with the agent's state for root, else in the user's cache."""
    if os.geteuid() == 0:
        return ENGINE_HELP_DIRECTORY
    own = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(own) / "llmagent" / ENGINE_HELP_DIRECTORY.name


def known_flags(install: EngineInstall, cache: Path) -> frozenset[str] | None:
    """Return the flags of this very install when its help was read before, else None."""
    with contextlib.suppress(OSError):
        return parse_help(_cache_file(install, cache).read_text())
    return None


def read_help(
    install: EngineInstall, user: str, cache: Path, deadline: float = DEADLINE_SECONDS
) -> str:
    """Return the help text, from the cache or by running the engine; root runs it as `user`.

    `deadline` is in seconds. Raises HostLacksError when the engine prints none in time.
    """
    file = _cache_file(install, cache)
    with contextlib.suppress(OSError):
        return file.read_text()
    said = ""
    for command in _COMMANDS:
        text, said = _run(install.python, command, user, deadline)
        if len(parse_help(text)) >= FEWEST_FLAGS:
            _keep(file, text)
            return text
    raise _no_help([install.python, "-m", *_COMMANDS[0]], said or "it printed nothing")


def _no_help(argv: list[str], said: str) -> HostLacksError:
    return HostLacksError(
        f"{argv[0]} prints no help of vLLM, so its flags cannot be checked: {said}; "
        f"try: {' '.join(argv)}"
    )


def _cache_file(install: EngineInstall, cache: Path) -> Path:
    key = f"{install.python}\n{install.version}\n{install.stamp}"
    return cache / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.txt"


def _keep(file: Path, text: str) -> None:
    """Keep a help for the next time; where that is not allowed, it is read again."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_suffix(".new")
        fresh.write_text(text)
        fresh.rename(file)


def _run(python: str, command: tuple[str, ...], user: str, deadline: float) -> tuple[str, str]:
    """Return what the engine prints, and the last line that it says if it fails."""
    argv = [python, "-m", *command]
    with tempfile.TemporaryDirectory(prefix="llmagent-help-") as home:
        identity = _identity(user)
        if identity is not None:
            os.chown(home, *identity)
        try:
            return _communicate(argv, home, identity, deadline)
        except subprocess.TimeoutExpired as error:
            raise _no_help(argv, f"it was not done after {deadline:g} s") from error
        except OSError as error:
            return "", f"user {user} cannot run it: {error.strerror}"


def _communicate(
    argv: list[str], home: str, identity: tuple[int, int] | None, deadline: float
) -> tuple[str, str]:
    uid, gid = identity or (None, None)
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd=home,
        env=_environment(argv[0], home),
        user=uid,
        group=gid,
        extra_groups=None if gid is None else [gid],
        start_new_session=True,
    ) as process:
        try:
            text, errors = process.communicate(timeout=deadline)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    lines = errors.strip().splitlines()
    return text, lines[-1] if lines else ""


def _identity(user: str) -> tuple[int, int] | None:
    """Return uid and gid to run as; None for our own, as only root can be another."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(user)
    except KeyError as error:
        raise HostLacksError(f"there is no user {user!r}; create it or set user") from error
    return entry.pw_uid, entry.pw_gid


def _environment(python: str, home: str) -> dict[str, str]:
    """Return an environment without our secrets, where what vLLM writes goes away with `home`."""
    return {
        "PATH": f"{Path(python).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": home,
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CACHE_ROOT": home,
    }
