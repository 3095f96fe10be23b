# SPDX-License-Identifier: Apache-2.0
"""What a script does beside starting vLLM: named, as llmagent starts vLLM alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import field

from agent.core.foreign.found import Left
from agent.core.foreign.scripts.carried import command_name
from agent.core.foreign.scripts.shell import Scope, words_of
from agent.core.plain import plain
from agent.core.record import dataclass

MOST_SHOWN = 3
"""Statements of one kind that are shown; the rest is counted."""
LONGEST = 80

_FILES = "it is not done anew at each start: files and directories must be there before"
_BROUGHT = "it is not done anew at each start: what it brings must be there before"
_HOST = "it is the host's: do it at boot, in a unit of its own"
_DRIVER = 'it is the card\'s: see [power] and [gpu."..."] in agent.toml(5)'
_OTHER = "llmagent starts vLLM alone: give it a unit, or ExecStartPre= with `systemctl edit NAME`"


@dataclass(frozen=True, slots=True)
class _Kind:
    """Commands that are answered alike: `having` is a word that one of them must have."""

    why: str
    commands: frozenset[str]
    having: re.Pattern[str] | None = None


def _kind(why: str, commands: str, having: re.Pattern[str] | None = None) -> _Kind:
    return _Kind(why, frozenset(commands.split()), having)


_IS_THERE = re.compile(r"-0$")
_SETS = re.compile(
    r"-(?:pl|pm|lgc|rgc|lmc|rmc|ac|rac|e|c|mig|r)$"
    r"|--(?:power-limit|persistence-mode|(?:un)?lock|applications-|gpu-)"
)
_ENDS = re.compile(r"(?:rm|stop|kill|down)$")
_SHOWS = re.compile(r"(?:logs|ps|inspect|images|version|info|wait|stats|top)$")
_PULLS = re.compile(r"pull$")
_DOWNLOADS = re.compile(r"download$")
_KEEPS = re.compile(r"-[A-Za-z]*[oO]$|--output|--remote-name")
"""An option of curl's that puts what it gets into a file."""


_SILENT = _kind(
    "",
    "echo printf print cat log logger say info warn warning error die usage help man wall true "
    "false : test [ [[ (( let read grep egrep fgrep pgrep ps which type command ls find head tail "
    "wc sort uniq cut tr sed awk jq date hostname id whoami uname nproc free df du stat seq expr "
    "basename dirname realpath readlink pwd env printenv getent curl lspci lscpu nvcc clear tput "
    "stty set shopt trap exit return break continue shift local declare typeset readonly export "
    "unset alias cd pushd popd wait jobs disown bg fg hash builtin history getopts for "
    "if then elif else fi case esac in while until do done select function time coproc nvidia-smi "
    "{ } ;; notify-send figlet",
)
"""What changes nothing that vLLM would see, and what nvidia-smi only shows."""

_KINDS = (
    _kind("", "kill", _IS_THERE),
    _kind("", "docker podman", _SHOWS),
    _kind(_DRIVER, "nvidia-smi", _SETS),
    _kind(
        "llmagent's unit has its own limits (systemctl cat NAME); others: systemctl edit NAME",
        "ulimit prlimit umask",
    ),
    _kind("write it to a file below /etc/sysctl.d: it holds for the whole host", "sysctl"),
    _kind(
        "llmagent waits for GPUs, model and memory by itself, and tells when vLLM serves",
        "sleep wait-for-it wait-for-it.sh timeout",
    ),
    _kind(
        "llmagent ends what is left of its own service before a start, and nothing of others'",
        "kill pkill killall fuser skill",
    ),
    _kind(
        "llmagent removes its own container before a start, and nothing of others'",
        "docker podman",
        _ENDS,
    ),
    _kind("llmagent does not pull unless engine.pull says so", "docker podman", _PULLS),
    _kind(
        "llmagent fetches the model before a start, where it may",
        "hf huggingface-cli modelscope",
        _DOWNLOADS,
    ),
    _kind(
        _FILES,
        "mkdir rmdir touch tee rm cp mv ln chmod chown chgrp install rsync scp tar unzip "
        "gunzip truncate mktemp setfacl rclone",
    ),
    _kind(
        _BROUGHT,
        "pip pip3 pipx uv uvx conda mamba micromamba apt apt-get dnf yum zypper apk snap git "
        "wget aria2c aws gsutil gcloud azcopy s5cmd hf huggingface-cli modelscope dpkg make cmake "
        "npm yarn cargo",
    ),
    _kind(_BROUGHT, "curl", _KEEPS),
    _kind(
        _HOST,
        "modprobe rmmod mount umount swapon swapoff cpupower tuned-adm ip ifconfig iptables nft "
        "ufw firewall-cmd systemctl service loginctl hostnamectl ethtool nvidia-persistenced "
        "nvidia-cuda-mps-control nvidia-ctk crontab sync",
    ),
)
"""From the first on: what the first one has, the later ones do not get."""

_FUNCTION = re.compile(r"(?:function\s+)?([\w.-]+)\s*\(\)\s*\{?\s*|function\s+([\w.-]+)\s*\{?\s*")
_PATTERN = re.compile(r"\(?[^()|\s$=`\"']{1,80}(?:\s{0,9}\|\s{0,9}[^()|\s$=`\"']{1,80}){0,8}\)\s*")
_KERNEL = re.compile(r">>?\s*[\"']?/(?:sys|proc)/|\btee\s+(?:-a\s+)?[\"']?/(?:sys|proc)/")
_WRITES = re.compile(
    r"(?:sudo\s+)?(?:cat|printf|echo)\b[^|]{0,400}"
    r"(?:(?<![0-9&>])>(?!>)\s*[\"']?(?!/dev/|/tmp/|/run/)[/~$]|>>\s*[\"']?/etc/)"
)
"""A file that is written; `2>` and `>&2` are none, and what is added to a file is mostly a log."""

_OUTPUT = re.compile(r"\s?(?:[0-9&]?>>?\s?(?:&[0-9]|/dev/null\b)|<<-?\s?\S{1,40})")
_RUNS_AS = frozenset({"sudo", "doas", "nice", "ionice", "nohup", "env", "exec", "time"})
_HERE = re.compile(r"<<-?\s*[\"'\\]?(\w+)")


@dataclass(slots=True)
class Beside:
    """Gathers the statements of a script that start no vLLM."""

    seen: dict[str, None] = field(default_factory=dict)
    functions: set[str] = field(default_factory=set)
    until: str = ""
    """The word that ends a text which a statement is handed (<<EOF), "" outside of one."""

    def note(self, statement: str) -> None:
        """Take one, as it stands in the script."""
        if self.until:
            if self.until in statement.split():
                self.until = ""
            return
        if here := _HERE.search(statement):
            self.until = here[1]
        if named := _FUNCTION.match(statement):
            self.functions.add(named[1] or named[2])
            statement = statement[named.end() :]
        elif pattern := _PATTERN.match(statement):
            statement = statement[pattern.end() :]
        if statement.strip("{}; \t"):
            self.seen.setdefault(statement)

    def left(self) -> Iterator[Left]:
        """Yield one of each kind, with the first statements of it."""
        kinds: dict[str, list[str]] = {}
        for statement in self.seen:
            why = self._why(statement)
            if why:
                kinds.setdefault(why, []).append(_short(statement))
        for why, told in kinds.items():
            more = f" and {len(told) - MOST_SHOWN} more" if len(told) > MOST_SHOWN else ""
            yield Left("; ".join(f"`{one}`" for one in told[:MOST_SHOWN]) + more, why)

    def changes(self) -> Iterator[str]:
        """Yield what may change what vLLM finds: files, packages, and what nobody knows."""
        for statement in self.seen:
            if self._why(statement) in (_FILES, _BROUGHT, _HOST, _OTHER):
                yield _short(statement)

    def _why(self, statement: str) -> str:
        words = _own_words(statement)
        name = command_name(words)
        if _KERNEL.search(statement):
            return _HOST
        if _WRITES.match(statement) and "$!" not in statement:
            return _FILES
        if not name or name in self.functions or name.startswith(tuple("$#-([)<>")):
            return ""
        for kind in _KINDS:
            if name in kind.commands and (
                kind.having is None or any(map(kind.having.match, words[1:]))
            ):
                return kind.why
        return "" if name in _SILENT.commands else _OTHER


def _short(statement: str) -> str:
    """Return a statement for a person: on one line, without where its output goes."""
    return plain(" ".join(_OUTPUT.sub("", statement).rstrip("& ").split()), LONGEST)


def _own_words(statement: str) -> Sequence[str]:
    """Return the words of a statement from the program on that does it."""
    words = list(words_of(statement.rstrip("&| "), Scope({})) or statement.split())
    while words and words[0].rpartition("/")[2] in _RUNS_AS:
        words.pop(0)
        while words and words[0].startswith("-"):
            words.pop(0)
    return words
