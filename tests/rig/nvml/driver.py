# SPDX-License-Identifier: Apache-2.0
"""The driver as files: the library that new processes load, and what the loaded module says."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from .state_file import StateFile

LIBRARY = "libnvidia-ml.so.1"


@dataclass(frozen=True, slots=True)
class DriverFiles:
    """The driver's files under `root`: "/" inside a machine, any directory for a unit test."""

    root: Path
    library: Path

    @property
    def libraries(self) -> Path:
        """The directory that holds libnvidia-ml.so.1."""
        return self.root / "usr/lib/x86_64-linux-gnu"

    @property
    def module_version(self) -> Path:
        """What the loaded kernel module says of itself."""
        return self.root / "proc/driver/nvidia/version"

    def install_library(self, version: str) -> None:
        """Puts this version on the disk, as apt does: a file with the version, and the link."""
        self.libraries.mkdir(parents=True, exist_ok=True)
        for old in self.libraries.glob("libnvidia-ml.so.*"):
            old.unlink()
        shutil.copy(self.library, self.libraries / f"libnvidia-ml.so.{version}")
        (self.libraries / LIBRARY).symlink_to(f"libnvidia-ml.so.{version}")

    def load_module(self, version: str) -> None:
        """Has the loaded module be this version."""
        self.module_version.parent.mkdir(parents=True, exist_ok=True)
        self.module_version.write_text(
            f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {version}  Release Build\n"
            "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n"
        )

    def unload_module(self) -> None:
        """Takes the module away."""
        self.module_version.unlink(missing_ok=True)


def install(state: StateFile, files: DriverFiles) -> None:
    """Makes the files agree with the state: one version everywhere."""
    version = state.get(None, "driver_version") or "595.71.05"
    files.install_library(version)
    files.load_module(version)


def upgrade(state: StateFile, files: DriverFiles, version: str) -> None:
    """Does what an unattended upgrade does: a new library, the old module still loaded.

    Programs that run go on; whatever calls nvmlInit in a new process gets a version mismatch.
    """
    state.set(None, {"library_version": version})
    files.install_library(version)


def reload(state: StateFile, files: DriverFiles) -> None:
    """Loads the module of the library on the disk; programs with the old library lose NVML."""
    version = state.get(None, "library_version") or state.get(None, "driver_version") or ""
    state.set(None, {"driver_version": version, "nvml_version": f"13.{version}"})
    files.load_module(version)
