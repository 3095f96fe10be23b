# SPDX-License-Identifier: Apache-2.0
"""What leaves the host in a bug report: texts without secrets, and without what clients wrote.

A report goes to strangers, so the rules are stricter than those of `secrets`, which are for screens
of this host: what may be a secret goes, by its name, its form or its randomness, and of a log stays
only what a program's log looks like.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from agent.core.randomness import is_random
from agent.core.secrets import (
    GONE,
    HEADER,
    ISSUED,
    PEM,
    QUOTATION,
    without_quotations,
    without_secrets,
)

SHORTEST = 6
"""Characters of a known secret that is looked for by its text; shorter ones stand in many words."""

_SECRET_WORDS = frozenset(
    {
        *("secret", "secrets", "password", "passwd", "passphrase", "passcode", "credential"),
        *("credentials", "cookie", "cookies", "authorization", "bearer", "signature", "apikey"),
        *("dsn", "jwt"),
    }
)
_LAST_WORDS = frozenset({"token", "pass", "pwd", "pin", "otp", "auth", "sig", "salt", "sas"})
"""They name a secret where they end a name: hf_token, not token_budget."""

_GLUED = ("password", "passwd", "passphrase", "secret", "apikey", "credential")
"""They stand in one word with another, too: PGPASSWORD."""

_SECRET_PAIRS = frozenset(
    f"{kind} key"
    for kind in (
        *("api", "access", "account", "auth", "encryption", "license", "master", "private"),
        *("secret", "service", "shared", "signing", "ssh", "storage", "subscription"),
    )
)
_KEY_OF_A_VARIABLE = re.compile(r"[A-Z0-9_]+_KEY")
_OF_A_THING = frozenset(
    {
        *("file", "path", "dir", "directory", "id", "ids", "count", "bytes", "seconds", "limit"),
        *("url", "uri", "type", "name", "class"),
    }
)
"""Last words of a name whose value is about the secret, and is not it."""

_KNOWN_VARIABLES = re.compile(
    r"(?:TORCH|PYTHON)\w*|(?:VLLM|HF|HUGGINGFACE|CUDA|NVIDIA|NCCL|GLOO|UCX|PYTORCH|OMP|MKL|OPENBLAS"
    r"|NUMEXPR|LD|TRITON|FLASHINFER|RAY|TOKENIZERS|TRANSFORMERS|SAFETENSORS|XDG|LC|MALLOC|SYSTEMD"
    r"|INVOCATION|CREDENTIALS|DO_NOT|SSL_CERT)[A-Z0-9_]*|PATH|HOME|LANG|TZ|USER|TMPDIR|SHELL|CC|CXX"
)
"""Variables that vLLM, its libraries and systemd read; of all others only the name is told."""

_URL = re.compile(r"(\b[a-z][a-z0-9+.-]{1,20}://)([^\s/'\"<>]{1,600}@)?([^\s?#'\"<>]{1,2000})")
_QUERY = re.compile(r"(?<=[\w/.=-])\?[^\s'\"<>]{1,8000}")
_NAME = re.compile(
    r"(?P<name>-{0,2}[A-Za-z][A-Za-z0-9_.-]{0,100}+)"
    r"(?P<is>['\"]?\s{0,3}[=:]>?\s{0,3}(?:!!?\w{0,20} )?|\s{1,3}(?:is |was )?)"
)
_VALUE = re.compile(
    r"\"[^\"]{0,4000}\"?|'[^']{0,4000}'?|\[[^\]]{0,4000}\]?|\{[^}]{0,4000}\}?|\([^)]{0,4000}\)?"
    r"|[^\s,;'\"()\]}&]{1,4000}"
)
_NO_WORD = re.compile(r"(?=\S{0,200}[0-9])(?=\S{0,200}[A-Za-z])\S{6,}")
"""Behind a name and a blank in a sentence stands a secret only where it is no word."""

_OF_PROGRAMS = re.compile(r"(?<=\s)(-u\s?[^\s:]{1,100}:|sshpass\s-p\s?)\S{1,400}")
_NUMBER = re.compile(r"[\d.,:eE+-]+|[Tt]rue|[Ff]alse|[Nn]one|null|<?unset>?")
_RUN = re.compile(r"[A-Za-z0-9+/_=-]{16,4096}")
_OF_A_CLIENT = re.compile(
    r"(?i)\b(\w{0,30}(?:prompt|output|message|content|text|delta|completion|body|data|input_value"
    r"|input|quer(?:y|ies)|document|conversation|question|answer|instruction)s?"
    r"['\"]?(?: is| was)? ?[:=] ?)(?!None\b|\d|\[\.|[A-Za-z_.]{1,40}\()\S.*"
)
_BEFORE = re.compile(
    r"(?:\x1b?\[[0-9;]{1,12}m)*(?:\([\w .-]{1,60} pid=\d{1,9}\)|\[rank\d{1,5}\]:)?"
    r"(?:\x1b?\[[0-9;]{1,12}m)* ?"
)
"""What vLLM puts before each line of its processes, also of what they print by themselves."""

_LOGGED = re.compile(
    r"(?:DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)\b:? "
    r"|\d{4}-\d\d-\d\d[ T]|\[?[IWEF]\d{4} \d\d:"
)
_STAMP = re.compile(r"[A-Z]{4,8} [\d: .-]{10,30}\[[^\]\s]{1,100}\] ?")
_A_LOGS = re.compile(
    r"Traceback \(most recent|During handling of the above|The above exception was|\s{0,8}File \""
    r"|\s{0,80}[\^~]+\s*$|\s*$|/\S{1,400}:\d{1,7}: \w{1,60}Warning:|warnings\.warn\("
    r"|(?:[\w.]{1,200}\.)?(?:[A-Z]\w{0,100})?(?:Error|Exception|Interrupt|Exit|Fault)\b"
    r"|\s{0,4}\d{1,4} validation errors? for|\s{0,4}(?:Value error|Assertion failed), "
    r"|\s{0,4}[\w ,.]{0,200}\[type=\w{1,60}, |Process \S{1,60}:$"
    r"|(?:Starting|Started|Stopping|Stopped|Failed|Finished|Reloading|Deactivated) \S"
    r"|[\w@.-]{1,100}\.service\b|usage: |vllm: |\[(?:Gloo|NCCL|W|E|I|F)\b|NCCL |Triton "
    r"|Loading \w{1,40} checkpoint|[\w (),=-]{1,90}: +\d{1,3}%|nanobind: |\s?- leaked "
    r"|terminate called|Fatal Python error|Thread 0x|\s{0,4}what\(\):|\*\*\* |#\d{1,3} 0x"
)
_FRAME = re.compile(r"\s{0,8}File \"[^\"]{1,400}\", line \d{1,7}(?:, in [\w<>.]{1,200})?\s*$")
_SOURCE_FOLLOWS = re.compile(r"\s{0,8}File \"|/\S{1,400}:\d{1,7}: \w{1,60}Warning:")
_ASKED = re.compile(r"\"([A-Z]{3,8} /[\w/.-]{0,80})(?:\?[^\"\s]{0,8000})? HTTP/([\d.]{1,4})\"")
"""A line of uvicorn's access log; of an address the part before the question mark is told."""


def is_secret_name(name: str) -> bool:
    """Tell whether a key, a variable or an option of this name holds a secret."""
    spread = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    words = [word for word in re.split(r"[^a-z0-9]+", spread.lower()) if word]
    if not words or words[-1] in _OF_A_THING:
        return False
    if _KEY_OF_A_VARIABLE.fullmatch(name):
        return True
    return (
        words[-1] in _LAST_WORDS
        or not _SECRET_WORDS.isdisjoint(words)
        or any(part in word for word in words for part in _GLUED)
        or any(" ".join(pair) in _SECRET_PAIRS for pair in pairwise(words))
    )


class Redactor:
    """Takes out secrets; `known` are those of this host, by their text."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known = sorted({k for k in known if len(k) >= SHORTEST}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """Return a text of one or several lines without secrets."""
        for secret in self._known:
            text = text.replace(secret, GONE)
        text = PEM.sub(GONE, text)
        return "\n".join(self._line(line) for line in text.split("\n"))

    def _line(self, line: str) -> str:
        line = _URL.sub(lambda url: f"{url[1]}{f'{GONE}@' if url[2] else ''}{url[3]}", line)
        line = _QUERY.sub(f"?{GONE}", line)
        line = HEADER.sub(rf"\1\2{GONE}", line)
        line = _OF_PROGRAMS.sub(rf"\1{GONE}", f" {line}")[1:]
        line = without_secrets(_without_assigned(line))
        line = ISSUED.sub(GONE, line)
        return _RUN.sub(lambda run: GONE if is_random(run[0]) else run[0], line)

    def value(self, value: Any, name: str = "") -> Any:
        """Return a document of tables, lists and values (TOML, JSON) without secrets."""
        match value:
            case Mapping() if name.lower() == "environment":
                return {key: self.variable(key, str(item)) for key, item in value.items()}
            case Mapping():
                return {self.text(key): self.value(item, key) for key, item in value.items()}
            case list() if name == "lines" and all(isinstance(item, str) for item in value):
                return self.log(value)  # the last of an engine that hung, in the history
            case list() | tuple():
                return self._list(list(value))
            case str() if is_secret_name(name):
                return GONE
            case str():
                return self.text(value)
            case _:
                return value

    def _list(self, items: list[Any]) -> list[Any]:
        """Return a list's items; one behind an option that takes a secret is one."""
        before = ["", *items[:-1]]
        return [
            GONE
            if isinstance(last, str) and last.startswith("-") and is_secret_name(last)
            else self.value(item)
            for last, item in zip(before, items, strict=True)
        ]

    def variable(self, name: str, value: str) -> str:
        """Return the value of an environment variable as it may be told."""
        if is_secret_name(name) or not _KNOWN_VARIABLES.fullmatch(name):
            return GONE
        return self.text(value)

    def unit(self, text: str) -> str:
        """Return the text of a unit file or of a drop-in without secrets."""
        return "\n".join(self._unit_line(line) for line in text.split("\n"))

    def _unit_line(self, line: str) -> str:
        key, is_, rest = line.partition("=")
        if not is_ or key.strip() != "Environment":
            return self.text(line)
        names = re.findall(r"(?:^|[\s\"'])([A-Za-z_][A-Za-z0-9_]*)=", rest)
        if len(names) != 1:
            return f"{key}={' '.join(f'{name}={GONE}' for name in names)}"
        value = rest.partition("=")[2].strip().strip("\"'")
        return f"{key}={names[0]}={self.variable(names[0], value)}"

    def log(self, lines: Iterable[str]) -> list[str]:
        """Return an engine's log without secrets and without what clients wrote.

        A line that does not look like a program's log is not shown: it may be a client's text.
        """
        shown: list[str] = []
        source = False
        for line in lines:
            own = line[found.end() :] if (found := _BEFORE.match(line)) else line
            logged = _LOGGED.match(own) is not None
            bare = _STAMP.sub("", own, count=1) if logged else own
            if source and bare.startswith(" "):
                # Under a frame of a traceback stands its line of the program's own source.
                shown.append(self.text(line))
                source = False
                continue
            if _FRAME.match(bare):
                shown.append(self.text(line))
            elif logged or _A_LOGS.match(own):
                kept = without_quotations(_ASKED.sub(r"<\1 HTTP/\2>", line))
                shown.append(self.text(_OF_A_CLIENT.sub(rf"\1{QUOTATION}", kept)))
            else:
                shown.append(f"[{len(line)} characters that do not look like a log]")
            source = _SOURCE_FOLLOWS.match(bare) is not None
        return shown


def _without_assigned(line: str) -> str:
    """Return the line with GONE for each value that stands behind the name of a secret."""
    told: list[str] = []
    done = 0
    for found in _NAME.finditer(line):
        if found.start() < done or not is_secret_name(found["name"]):
            continue
        value = _VALUE.match(line, found.end())
        if value is None or not _is_secret(found, value[0]):
            continue
        told += (line[done : found.end()], GONE)
        done = value.end()
    return "".join(told) + line[done:]


def _is_secret(found: re.Match[str], value: str) -> bool:
    name, bare = found["name"], value.strip("\"'")
    if bare in ("", GONE) or bare.startswith("<"):
        return False
    # `tokens: 16` and `max_token=none` are no secrets, whatever the name.
    if _NUMBER.fullmatch(bare) and not re.search(r"(?i)pass|pin|otp|pwd", name):
        return False
    if found["is"].strip(" '\"")[:1] not in ("=", ":") and not name.startswith("-"):
        return _NO_WORD.fullmatch(bare) is not None
    return True
