# SPDX-License-Identifier: Apache-2.0
"""Which NVIDIA driver is on disk, which is loaded, and which library this process has mapped.

Asked of files and modinfo, not of NVML: it must be known before the next process fails. A module
that was loaded says its version in /proc/driver/nvidia/version; the library's version is part of
the name of the file behind libnvidia-ml.so.1; modinfo tells what the next boot loads.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent.core.record import dataclass

LIBRARY: Final = "libnvidia-ml.so.1"
MODINFO_SECONDS: Final = 10.0

_LIBRARY_VERSION = re.compile(r"libnvidia-ml\.so\.(\d{1,9}\.\d{1,9}(?:\.\d{1,9}){0,9})")
_MODULE_VERSION = re.compile(r"Kernel Module(?: for \S+)?\s+(\d{1,9}\.\d{1,9}(?:\.\d{1,9}){0,9})")
_IN_CACHE = re.compile(rb"(/[^\0]{0,250}/libnvidia-ml\.so\.1)\0")


@dataclass(frozen=True, slots=True)
class DriverPlaces:
    """Where the files are; the defaults are a Debian or Ubuntu host's."""

    loaded_module: tuple[Path, ...] = (
        Path("/proc/driver/nvidia/version"),
        Path("/sys/module/nvidia/version"),
    )
    loader_cache: Path = Path("/etc/ld.so.cache")
    library_directories: tuple[Path, ...] = (
        Path("/usr/lib/x86_64-linux-gnu"),
        Path("/usr/lib/aarch64-linux-gnu"),
        Path("/usr/lib64"),
        Path("/usr/lib"),
    )
    mappings: Path = Path("/proc/self/maps")
    modinfo: tuple[str, ...] = ("modinfo", "-F", "version", "nvidia")


@dataclass(frozen=True, slots=True)
class DriverVersions:
    """Versions, each "" when there is none; `library` is the file, None without one."""

    library: Path | None = None
    library_version: str = ""
    module_version: str = ""
    installed_module_version: str = ""
    mapped_version: str = ""

    @property
    def present(self) -> bool:
        """Whether the host has anything of an NVIDIA driver."""
        return self.library is not None or bool(self.module_version)


class DriverFiles:
    """Reads the versions; cheap enough for every few seconds."""

    def __init__(self, places: DriverPlaces) -> None:
        self._places = places
        self._cached: tuple[float, Path | None] = (0.0, None)
        self._installed: tuple[tuple[str, str], str] = (("", ""), "")

    def read(self) -> DriverVersions:
        """Return what is there now; a file that cannot be read counts as absent."""
        library = self._library()
        on_disk = _version_of(library)
        loaded = self._loaded()
        return DriverVersions(
            library=library,
            library_version=on_disk,
            module_version=loaded,
            installed_module_version=self._next_boots(on_disk, loaded),
            mapped_version=self._mapped(),
        )

    def _library(self) -> Path | None:
        return next((path for path in self._candidates() if path.exists()), None)

    def _candidates(self) -> Iterator[Path]:
        """Yield where the dynamic loader would look, the cache first."""
        try:
            changed = self._places.loader_cache.stat().st_mtime
            if changed != self._cached[0]:
                found = _IN_CACHE.search(self._places.loader_cache.read_bytes())
                self._cached = (changed, Path(found[1].decode()) if found else None)
        except (OSError, UnicodeDecodeError):
            self._cached = (0.0, None)
        if self._cached[1] is not None:
            yield self._cached[1]
        for directory in self._places.library_directories:
            yield directory / LIBRARY

    def _loaded(self) -> str:
        for file in self._places.loaded_module:
            with contextlib.suppress(OSError, UnicodeDecodeError):
                text = file.read_text()
                found = _MODULE_VERSION.search(text)
                return found[1] if found else text.strip().partition("\n")[0][:40]
        return ""

    def _next_boots(self, on_disk: str, loaded: str) -> str:
        """Return modinfo's answer; asked again only when something else changed."""
        if not on_disk and not loaded:
            return ""
        if self._installed[0] != (on_disk, loaded):
            self._installed = ((on_disk, loaded), self._ask_modinfo())
        return self._installed[1]

    def _ask_modinfo(self) -> str:
        with contextlib.suppress(OSError, subprocess.SubprocessError, UnicodeDecodeError):
            done = subprocess.run(
                self._places.modinfo,
                check=False,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=MODINFO_SECONDS,
            )
            if done.returncode == 0:
                return done.stdout.strip()
        return ""

    def _mapped(self) -> str:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            found = _LIBRARY_VERSION.search(self._places.mappings.read_text())
            return found[1] if found else ""
        return ""


def _version_of(library: Path | None) -> str:
    with contextlib.suppress(OSError, RuntimeError):
        found = _LIBRARY_VERSION.search(library.resolve().name) if library else None
        return found[1] if found else ""
    return ""
