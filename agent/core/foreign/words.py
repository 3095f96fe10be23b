# SPDX-License-Identifier: Apache-2.0
"""A line as a shell divides it into words, and what of it stands before vLLM."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence, Set
from itertools import pairwise

from agent.core.foreign.found import Left
from agent.core.record import dataclass

_QUIET = frozenset({"env", "exec", "eval", "nohup", "setsid", "command"})
_AS_USER = frozenset({"sudo", "runuser", "setpriv", "su", "gosu", "chpst"})
SETS_A_VARIABLE = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
"""As the words before a command that set a variable for it alone."""

_CONDAS = frozenset({"conda", "mamba", "micromamba"})
_LAUNCHERS = frozenset(
    {*_CONDAS, *("uv", "uvx", "pipx", "poetry", "pipenv", "pdm", "hatch", "rye", "pixi")}
)
"""Programs that choose a Python environment and run a command in it."""

_THROWN_AWAY = frozenset({"uvx", "uv tool", "pipx"})
"""Those that make an environment for a package and keep it in a cache of their own."""

_PLACES = frozenset({"--prefix", "--project", "--directory", "--manifest-path"})
_PACKAGES = frozenset({"--from", "--spec", "--with"})


@dataclass(frozen=True, slots=True)
class Before:
    """What stands before vLLM: programs that change how it runs, and the user that they give.

    `python` is the one of the environment that a launcher (uv run, conda run) chooses; `launcher`
    names one whose choice cannot be known from the line, and what to do about it.
    """

    programs: str = ""
    user: str = ""
    python: str = ""
    launcher: Left | None = None


def split(text: str) -> tuple[str, ...]:
    """Return the words of a line; where quotes do not match, what spaces divide."""
    try:
        return tuple(shlex.split(text, comments=False))
    except ValueError:
        return tuple(text.split())


def before_vllm(
    words: Sequence[str], directory: str = "", environment: Mapping[str, str] | None = None
) -> Before:
    """Read what starts vLLM's program, for a line that runs in `directory`.

    "numactl -N 0" and "me" of `sudo -u me env A=1 numactl -N 0 vllm serve x`, and the Python of
    /opt/conda/envs/llm of `/opt/conda/bin/conda run -n llm vllm serve x`.
    """
    kept: list[str] = []
    user = ""
    at = _program_at(words)
    left = list(words[:at])
    release = words[at].partition("@")[2] if words else ""
    while left:
        word = left.pop(0)
        if kept and word.startswith("-") and left and SETS_A_VARIABLE.fullmatch(left[0]):
            # The value of an option, as systemd-run's -p MemoryMax=90%, and no variable.
            kept += [word, left.pop(0)]
            continue
        name = word.rpartition("/")[2]
        if name in _AS_USER:
            while left and left[0].startswith("-"):
                flag = left.pop(0)
                if flag in ("-u", "--user") and left:
                    user = left.pop(0)
        elif name in _LAUNCHERS:
            package = f"vllm=={release}" if release else "vllm"
            python, launcher = _launched(word, left, package, directory, environment or {})
            return Before(" ".join(kept), user, python, launcher)
        elif name not in _QUIET and not SETS_A_VARIABLE.fullmatch(word) and not word.endswith(")"):
            kept.append(word)
    return Before(" ".join(kept), user)


def _program_at(words: Sequence[str]) -> int:
    """Return where vLLM's own program stands; a name of an environment may be "vllm" as well."""
    for at, (word, after) in enumerate(pairwise((*words, ""))):
        name = word.rpartition("/")[2]
        if re.fullmatch(r"vllm(@.*)?", name) and after == "serve":
            return at
        if name.startswith("python") and (after.startswith("-") or after.endswith("/vllm")):
            return at
    return 0


def _launched(
    program: str,
    words: Sequence[str],
    package: str,
    directory: str,
    environment: Mapping[str, str],
) -> tuple[str, Left | None]:
    """Return the Python that a launcher chooses, or what to do where that is not known."""
    name = program.rpartition("/")[2]
    command = " ".join([name, *words[:1]]) if words[:1] in (["run"], ["tool"]) else name
    # -p is a place to conda, and a release of Python to uv; so is -e a name to pixi alone.
    place = _value(words, _PLACES | ({"-p"} if name in _CONDAS else set()))
    own = _value(words, {"-n", "--name"} if name in _CONDAS else {"-e", "--environment"})
    brought = _value(words, _PACKAGES)
    if {name, command} & _THROWN_AWAY or brought:
        wanted = shlex.quote(brought if brought.startswith("vllm") else package)
        told = (
            "it keeps the environment in a cache: make one that stays (uv venv /opt/vllm; "
            f"uv pip install --python /opt/vllm/bin/python {wanted}) and set `python` to its Python"
        )
        return "", Left(command, told)
    root = ""
    if name in _CONDAS:
        home = program.removesuffix(f"/bin/{name}").removesuffix(f"/condabin/{name}")
        prefix = place or (own if "/" in own else "")
        if not prefix and home.startswith("/") and home != program:
            prefix = home if own in ("", "base") else f"{home}/envs/{own}"
        root = _joined(directory, prefix) if prefix else ""
    elif name == "uv":
        venv = environment.get("UV_PROJECT_ENVIRONMENT", ".venv")
        root = _joined(_joined(directory, place), venv)
    elif name == "pixi":
        project = _joined(directory, place.removesuffix("pixi.toml").rstrip("/"))
        root = _joined(project, f".pixi/envs/{own or 'default'}")
    if root.startswith("/"):
        return f"{root}/bin/python", None
    where = f" in {directory}" if directory else ""
    same = " ".join([program, *words])
    told = f"it chooses the environment: set `python` to what `{same} which python`{where} prints"
    return "", Left(command, told)


def _value(words: Sequence[str], flags: Set[str]) -> str:
    """Return the value of the first of these options, "" where none is given."""
    for word, following in pairwise((*words, "")):
        flag, equals, value = word.partition("=")
        if flag in flags:
            return value if equals else following
    return ""


def _joined(directory: str, path: str) -> str:
    if path.startswith("/") or not path:
        return path or directory
    return f"{directory.rstrip('/')}/{path.removeprefix('./')}" if directory else path
