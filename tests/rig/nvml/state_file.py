# SPDX-License-Identifier: Apache-2.0
"""The file that the simulated NVML reads: one [system] and one [gpu N] for each card."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

Section = dict[str, str]
Value = str | int | float | None

DEFAULT: Final = Path("/dev/shm/nvsim/state")
"""Where the library looks unless $NVSIM_STATE says otherwise; services may write there."""
PROFILES: Final = Path(__file__).parent / "profiles"
CARDS: Final = ("rtx4090", "rtx4000ada", "gb10", "h200")


class StateFile:
    """Reads and replaces the file; each change is seen whole by the next NVML call."""

    def __init__(self, path: Path = DEFAULT) -> None:
        self.path = path

    def create(self, *cards: str) -> None:
        """Makes a host with these cards; the driver is that of the first one's profile."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked():
            self._write(machine(*cards))

    def remove(self) -> None:
        """Unloads the driver: NVML then says that it is not loaded."""
        self.path.unlink(missing_ok=True)

    def gpus(self) -> list[int]:
        """Returns the numbers of the cards that are there."""
        names = [name.split() for name in self._read()]
        return [int(words[1]) for words in names if words[0] == "gpu"]

    def get(self, gpu: int | None, key: str) -> str | None:
        """Returns a value; gpu None is [system]."""
        return self._read().get(_name(gpu), {}).get(key)

    def number(self, gpu: int | None, key: str, otherwise: float = 0) -> float:
        """Returns a value as a number, `otherwise` where it is absent or an error."""
        text = self.get(gpu, key)
        if text is None or text.startswith("!"):
            return otherwise
        return float(int(text, 0)) if text.startswith("0x") else float(text)

    def set(self, gpu: int | None, values: Mapping[str, Value]) -> None:
        """Sets values of one section; None takes a key away, as if the card had no such thing."""
        self.change(lambda sections: _put(sections.setdefault(_name(gpu), {}), values))

    def take_out(self, gpu: int) -> None:
        """Removes a card; those after it get a lower index."""
        self.change(lambda sections: sections.pop(_name(gpu), None))

    def change(self, edit: Callable[[dict[str, Section]], object]) -> None:
        """Lets `edit` change the sections, and replaces the file."""
        with self._locked():
            sections = self._read()
            edit(sections)
            self._write(sections)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with Path(f"{self.path}.lock").open("w") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            yield

    def _read(self) -> dict[str, Section]:
        return parse(self.path.read_text()) if self.path.exists() else {}

    def _write(self, sections: Mapping[str, Section]) -> None:
        fresh = Path(f"{self.path}.new")
        fresh.write_text(written(sections))
        # NVML's clients run under other users too.
        fresh.chmod(0o666)
        os.replace(fresh, self.path)  # noqa: PTH105 - Path.replace is the same call


def _name(gpu: int | None) -> str:
    return "system" if gpu is None else f"gpu {gpu}"


def _put(section: Section, values: Mapping[str, Value]) -> None:
    for key, value in values.items():
        if value is None:
            section.pop(key, None)
        else:
            section[key] = str(value)


def parse(text: str) -> dict[str, Section]:
    """Returns the sections of a state file or profile."""
    sections: dict[str, Section] = {}
    section: Section = {}
    for line in text.splitlines():
        word = line.strip()
        if word.startswith("["):
            section = sections.setdefault(word.strip("[]"), {})
        elif word and not word.startswith("#"):
            key, _, value = word.partition("=")
            section[key.strip()] = value.strip()
    return sections


def written(sections: Mapping[str, Section]) -> str:
    """Returns the sections as a file's text."""
    lines: list[str] = []
    for name, section in sections.items():
        lines += [f"[{name}]", *(f"{key} = {value}" for key, value in section.items())]
    return "\n".join(lines) + "\n"


def machine(*cards: str) -> dict[str, Section]:
    """Returns a host with these cards; cards of one profile differ by UUID and PCI address."""
    profiles = [parse((PROFILES / f"{card}.ini").read_text()) for card in cards]
    sections = {"system": profiles[0]["system"]} if profiles else {"system": {}}
    for index, profile in enumerate(profiles):
        who = {"uuid": uuid_of(index), "pci_bus_id": f"00000000:{index + 1:02X}:00.0"}
        sections[f"gpu {index}"] = who | profile["gpu"]
    return sections


def uuid_of(gpu: int) -> str:
    """Returns the UUID of a simulated card."""
    return f"GPU-{gpu:08x}-51d0-4a6e-9b1c-5a6e9b1c{gpu:04x}"
