# SPDX-License-Identifier: Apache-2.0
"""Programs that are handed a whole command as one word, and those that only show what they get."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from agent.core.foreign.words import SETS_A_VARIABLE

CARRIERS = frozenset(
    {
        *("at", "batch", "byobu", "chroot", "chrt", "daemonize", "dbus-run-session"),
        *("eval", "flock", "newgrp", "nsenter", "parallel", "pm2", "runuser", "sbatch"),
        *("screen", "script", "sg", "srun", "ssh", "start-stop-daemon", "su", "sudo"),
        *("tmux", "unbuffer", "watch", "xargs", "circusd", "forever", "honcho"),
        *("mprocs", "concurrently", "zellij", "dtach", "abduco"),
    }
)
"""As in `tmux new-session -d "vllm serve x"`, `su me -c "vllm serve x"`, `sbatch --wrap "..."`."""

SHOWS = frozenset(
    {
        *("echo", "printf", "print", "cat", "log", "logger", "say", "tee", "sed", "awk", "grep"),
        *("egrep", "fgrep", "pgrep", "pkill", "kill", "killall", "ps", "which", "type", "ls"),
        *("test", "[", "[[", "info", "warn", "warning", "error", "die", "usage", "read", "pip"),
        *("pip3", "man", "help", "apt", "apt-get", "curl", "wget", "figlet", "wall", "notify-send"),
    }
)
"""What follows these words is text: shown, looked for, or installed, and not started."""

_SHELLS = frozenset({"sh", "bash", "dash", "zsh"})
_MANAGERS = frozenset({"pm2", "forever"})


def command_name(words: Sequence[str]) -> str:
    """Return the name of the program of a line, behind the variables that are set for it alone."""
    first = next((word for word in words if not SETS_A_VARIABLE.fullmatch(word)), "")
    return first.rpartition("/")[2]


def in_a_shell(words: Sequence[str]) -> str | None:
    """Return SCRIPT of `bash -lc SCRIPT`, which may start vLLM; None for any other line."""
    if command_name(words) not in _SHELLS:
        return None
    for flag, script in pairwise(words):
        if flag[:1] == "-" and flag[:2] != "--" and flag[-1] == "c" and "vllm" in script:
            return None if "$@" in script else script
    return None


def carried(words: Sequence[str]) -> str | None:
    """Return the command that a carrier is handed as one word, None where there is none.

    `pm2 start /opt/v/bin/vllm -- serve x` hands it over in two parts.
    """
    if not any(word.rpartition("/")[2] in CARRIERS for word in words):
        return None
    for word in words:
        command = word.partition("=")[2] if word.startswith("--") else word
        if "vllm" in command and len(command.split()) > 1:
            return command
    if command_name(words) in _MANAGERS and "--" in words:
        at = words.index("--")
        program = next((word for word in words[:at] if word.endswith(("vllm", "python"))), "")
        return " ".join((program, *words[at + 1 :])) if program else None
    return None
