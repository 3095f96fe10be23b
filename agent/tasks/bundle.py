# SPDX-License-Identifier: Apache-2.0
"""Collects what a bug report needs from this host, without secrets and without clients' words.

Each part is read by itself: what is not there or takes too long is a sentence in its place. Nothing
is written here but the archive, for its owner's eyes only.
"""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

import tomli_w

from agent.core.hub.unit import fetch_unit_name
from agent.core.record import dataclass
from agent.core.redaction import Redactor
from agent.core.settings.config import Config
from agent.core.settings.service import Settings
from agent.errors import AgentError, HostLacksError
from agent.host.files.foreign import open_regular
from agent.host.vllm.install import install_of
from agent.places import UNIT_DIRECTORY
from agent.version import VERSION

MOST_BYTES = 2 << 20
"""Of one part; of a longer one the end is kept."""

MOST_PRINTED = 16 << 20
"""Of a program's output, the end: journalctl prints some KiB about a line."""

MOST_LINES = 5000
"""Of one unit's journal, the newest."""

DEADLINE_SECONDS = 30.0
LONGEST_SECRET_FILE = 64 << 10
FOLDER = "llmagent-bundle"


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the bundle; `problem` says why it is not as it should be."""

    name: str
    what: str
    text: str
    problem: str = ""


Told = Callable[[list[str]], str]
"""Runs a command of llmagent's own and returns what it prints."""


def secrets_of(config: Config) -> Iterator[str]:
    """Yield the secrets that the configuration names: they are looked for everywhere."""
    for named in (config.notify.urls_file, config.notify.dead_mans_switch_file):
        yield from _lines_of(named)
    for policy in config.services.values():
        settings = policy.settings
        for file in (settings.hf_token_file, settings.api_key_file):
            yield from _lines_of(file)
        redactor = Redactor()
        for name, value in settings.environment.items():
            if redactor.variable(name, value) != value:
                yield value


def _lines_of(file: str | None) -> list[str]:
    if not file:
        return []
    try:
        with open_regular(Path(file).resolve()) as stream:
            return stream.read(LONGEST_SECRET_FILE).decode(errors="replace").split()
    except OSError:
        return []


def parts_of(config_file: Path, config: Config, since: float, told: Told) -> Iterator[Part]:
    """Yield the parts as they are read; logs and history from `since` on (seconds, epoch)."""
    redactor = Redactor(secrets_of(config))

    def shown(words: list[str]) -> str:
        return _document(told(words), redactor)

    yield _part("agent.toml", "the configuration", partial(_toml, config_file, redactor))
    for name, words in _commands(config_file).items():
        yield _part(name, f"`llmagent {' '.join(words)}`", partial(shown, words))
    first = f"--since={time.strftime('%Y-%m-%d %H:%M', time.localtime(since))}"
    yield _part("events.jsonl", "the history", partial(shown, [*_EVENTS, first]))
    yield _part("versions.txt", "versions", partial(_versions, config, redactor))
    engines = [policy.settings.unit for policy in config.services.values()]
    fetches = [fetch_unit_name(name) for name in config.services]
    for unit in ("llmagent.service", *engines, *fetches):
        yield _part(f"unit/{unit}", "the unit and its state", partial(_unit, unit, redactor))
        journal = partial(_journal, unit, since, redactor, engine=unit in engines)
        yield _part(f"journal/{unit}.txt", "its journal", journal)
    yield _part("journal/kernel.txt", "of GPUs and memory", partial(_kernel, since, redactor))
    yield _part("nvidia-smi.txt", "`nvidia-smi -q`", partial(_smi, redactor))


def _commands(config_file: Path) -> Mapping[str, list[str]]:
    config, json_ = ["--config", str(config_file)], ["--format", "json"]
    return {
        "status.json": ["status", *json_],
        "why.json": ["why", *json_],
        "check.json": ["check", str(config_file), "--no-engine", *json_],
        "doctor.json": ["doctor", "--offline", *config, *json_],
        "verify.json": ["verify", *config, *json_],
    }


_EVENTS = ["events", "--format", "json"]


def _part(name: str, what: str, read: Callable[[], str]) -> Part:
    try:
        text = read()
    except (AgentError, OSError, ValueError, subprocess.SubprocessError) as error:
        return Part(name, what, f"not read: {error}\n", str(error))
    data = text.encode(errors="replace")
    if len(data) > MOST_BYTES:
        text = data[-MOST_BYTES:].decode(errors="replace").partition("\n")[2]
        return Part(name, what, text, f"of {len(data)} bytes the last {MOST_BYTES}")
    return Part(name, what, text)


def _toml(file: Path, redactor: Redactor) -> str:
    """Return the file by its values: comments are left out, as they may hold anything."""
    text = file.read_text(errors="replace")
    try:
        return tomli_w.dumps(redactor.value(tomllib.loads(text)))
    except (ValueError, RecursionError) as error:
        shown = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("#"))
        return f"# not TOML: {error}\n{redactor.text(shown)}"


def _document(text: str, redactor: Redactor) -> str:
    """Return JSON, one document or one a line, without secrets; other text likewise."""
    try:
        return json.dumps(redactor.value(json.loads(text)), indent=2) + "\n"
    except (ValueError, RecursionError):
        return "".join(f"{_json_line(line, redactor)}\n" for line in text.splitlines())


def _json_line(line: str, redactor: Redactor) -> str:
    try:
        return json.dumps(redactor.value(json.loads(line)))
    except (ValueError, RecursionError):
        return redactor.text(line)


def _run(*argv: str) -> str:
    program = shutil.which(argv[0])
    if program is None:
        raise HostLacksError(f"{argv[0]} is not on this host")
    done = subprocess.run(
        [program, *argv[1:]],
        check=False,
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    data = done.stdout + done.stderr
    if len(data) > MOST_PRINTED:
        data = data[-MOST_PRINTED:].partition(b"\n")[2]
    return data.decode(errors="replace")


def _smi(redactor: Redactor) -> str:
    return redactor.text(_run("nvidia-smi", "-q"))


def _unit(unit: str, redactor: Redactor) -> str:
    text = _run("systemctl", "--no-pager", "cat", unit)
    state = _run("systemctl", "--no-pager", "show", unit, *_SHOWN)
    own = UNIT_DIRECTORY / unit
    where = "" if not own.exists() else f"# {own} is llmagent's\n"
    return redactor.unit(f"{where}{text}\n# systemctl show\n{state}")


_SHOWN = (
    "--property=ActiveState,SubState,Result,ExecMainCode,ExecMainStatus,NRestarts,UnitFileState",
    "--property=LoadState,FragmentPath,DropInPaths,MainPID,InvocationID,MemoryPeak,MemoryCurrent",
)


def _journal(unit: str, since: float, redactor: Redactor, *, engine: bool) -> str:
    lines = _entries(f"--unit={unit}", f"--since=@{since:.0f}")
    if not engine:
        return redactor.text("\n".join(f"{stamp} {message}" for stamp, message in lines))
    entries = list(lines)
    shown = redactor.log(message for _, message in entries)
    return "\n".join(f"{entry[0]} {text}" for entry, text in zip(entries, shown, strict=True))


def _entries(*matches: str) -> Iterator[tuple[str, str]]:
    """Yield time and message of each line of the journal, a line of several as several."""
    text = _run("journalctl", "--quiet", f"--lines={MOST_LINES}", "--output=json", *matches)
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            at = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
            message = _text_of(entry.get("MESSAGE"))
        except (ValueError, KeyError, TypeError):
            continue
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(at))
        for part in message.split("\n"):
            yield stamp, part


def _text_of(field: object) -> str:
    """Return a field's text as journalctl prints it: of one that was sent twice the first."""
    if isinstance(field, list) and any(isinstance(part, str | list) for part in field):
        return _text_of(field[0])
    if isinstance(field, list):  # bytes that are no text
        return bytes(byte & 255 for byte in field).decode(errors="replace")
    return "" if field is None else str(field)


_OF_THE_GPU = "NVRM|Xid|nvidia|oom-kill|Out of memory|Killed process|AER|pcieport|I/O error|EXT4-fs"


def _kernel(since: float, redactor: Redactor) -> str:
    entries = _entries("--dmesg", f"--grep={_OF_THE_GPU}", f"--since=@{since:.0f}")
    return redactor.text("\n".join(f"{stamp} {message}" for stamp, message in entries))


def _versions(config: Config, redactor: Redactor) -> str:
    release = platform.freedesktop_os_release()
    lines = [
        f"llmagent {VERSION}",
        f"python {platform.python_version()}",
        f"system {release.get('PRETTY_NAME', '?')}",
        f"kernel {platform.release()} {platform.machine()}",
        f"systemd {_run('systemctl', '--version').splitlines()[0]}",
        f"driver {_text('/proc/driver/nvidia/version')}",
    ]
    for policy in config.services.values():
        lines += _engine_lines(policy.settings)
    return redactor.text("\n".join(lines)) + "\n"


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        return f"{path}: {error.strerror}"


def _engine_lines(settings: Settings) -> Iterator[str]:
    """Yield the service's vLLM, and each package beside it by name and version."""
    install = install_of(settings)
    yield f"\n{settings.name}: vLLM {install.version or '?'} of {settings.python}"
    yield from install.problems
    found = {
        tuple(entry.name.removesuffix(".dist-info").rsplit("-", 1))
        for directory in install.read_paths
        for entry in _metadata(Path(directory))
    }
    yield from (f"  {' '.join(package)}" for package in sorted(found))


def _metadata(directory: Path) -> Iterable[Path]:
    return (
        found
        for pattern in ("*.dist-info", "lib/python3*/site-packages/*.dist-info")
        for found in directory.glob(pattern)
    )


def write(path: Path, parts: Iterable[Part]) -> int:
    """Write the archive, readable by its owner alone; returns its bytes.

    Raises HostLacksError where it cannot be made; a file that is there is never overwritten.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for part in parts:
            data = part.text.encode(errors="replace")
            member = tarfile.TarInfo(f"{FOLDER}/{part.name}")
            member.size, member.mode, member.mtime = len(data), 0o600, int(time.time())
            archive.addfile(member, io.BytesIO(data))
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise HostLacksError(f"{path}: {error.strerror}; name another with --output") from error
    with os.fdopen(file, "wb") as stream:
        return stream.write(packed.getvalue())
