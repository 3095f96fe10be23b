# SPDX-License-Identifier: Apache-2.0
"""Tables added to agent.toml: tried first, written whole or not at all, comments kept."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path

from agent.config.agent_toml import parse
from agent.core.foreign.table import Imported
from agent.core.record import dataclass
from agent.core.settings.config import Config
from agent.errors import ConfigError, HostLacksError, UsageError
from agent.host.systemd.unit_files import write_if_changed
from agent.places import CONFIG_FILE
from agent.tasks.check_config import Obstacle, Severity, check_config
from agent.tasks.foreign.accepted import plain_of
from agent.tasks.look_at_gpus import look_once

NVML_SECONDS = 2.5
FILE_MODE = 0o640
SECRET_MODE = 0o600


@dataclass(frozen=True, slots=True)
class Addition:
    """What would be written: `text` is the tables, `after` the whole file with them.

    `mistakes` are agent.toml's, `findings` those of `llmagent check` on the services added.
    """

    file: Path
    text: str
    before: str
    after: str
    secrets: Mapping[str, str] = field(repr=False)
    mistakes: tuple[str, ...] = ()
    findings: tuple[Obstacle, ...] = ()

    @property
    def is_well(self) -> bool:
        """Whether llmagent can run with it."""
        return not self.mistakes and all(f.severity is not Severity.ERROR for f in self.findings)


def addition(taken: Sequence[Imported], file: Path = CONFIG_FILE) -> Addition:
    """Try the tables together with what stands in the file; nothing is written."""
    secrets: dict[str, str] = {}
    for one in taken:
        secrets |= _placed(one, secrets)
    text = text_of(taken)
    before = _read(file)
    after = f"{before.rstrip()}\n\n{text}" if before.strip() else text
    names = [one.name for one in taken]
    try:
        config = parse(after, str(file))
    except ConfigError as error:
        return Addition(file, text, before, after, secrets, mistakes=error.mistakes)
    own = Config(services={name: config.services[name] for name in names})
    gpus = look_once(NVML_SECONDS) if any("gpus" in one.table for one in taken) else None
    found = check_config(own, run_engine_help=None, gpus=gpus)
    findings = tuple(one for one in found if not _comes(one, secrets))
    return Addition(file, text, before, after, secrets, findings=findings)


def text_of(taken: Sequence[Imported]) -> str:
    """Return the tables as TOML."""
    import tomli_w  # only where a table is written

    return "\n".join(
        tomli_w.dumps({"service": {one.name: plain_of(one.table)}}).removeprefix("[service]\n")
        for one in taken
    )


def write(added: Addition) -> None:
    """Write the secrets, then the file; raises HostLacksError, and then nothing has changed."""
    for path, content in added.secrets.items():
        write_if_changed(Path(path), content, SECRET_MODE)
    replace_file(added.file, added.after)


def replace_file(file: Path, text: str) -> None:
    """Write agent.toml whole, with the owner and the mode that it has."""
    try:
        facts = file.stat()
    except FileNotFoundError:
        write_if_changed(file, text, FILE_MODE)
        return
    write_if_changed(file, text, facts.st_mode & 0o777)
    if os.geteuid() == 0:
        os.chown(file, facts.st_uid, facts.st_gid)


def _placed(one: Imported, taken: Mapping[str, str]) -> dict[str, str]:
    """Return the files of secrets to write; where a file holds another, that gets a new name."""
    placed = {}
    for file, words in one.secrets.items():
        content, path = "\n".join(words) + "\n", Path(file)
        if _other(path, content) or taken.get(file, content) != content:
            path = path.with_name(f"{one.name}_{path.name}")
            if _other(path, content):
                raise UsageError(f"{path} holds another secret: move it away, or choose --name")
            for key in ("hf_token_file", "api_key_file"):
                if one.table.get(key) == file:
                    one.table[key] = str(path)
        placed[str(path)] = content
    return placed


def _other(path: Path, content: str) -> bool:
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace").split() != content.split()
    return False


def _comes(found: Obstacle, secrets: Mapping[str, str]) -> bool:
    """Tell whether a finding is about a file of a secret that is written with the table."""
    return any(f"{path} is no file" in found.text for path in secrets)


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise ConfigError(str(file), ("is not UTF-8",)) from error
    except OSError as error:
        raise HostLacksError(f"{file} cannot be read: {error.strerror}; run as root") from error
