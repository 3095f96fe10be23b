# SPDX-License-Identifier: Apache-2.0
"""Which driver is on disk, loaded, and mapped, read from files alone."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agent.host.nvidia.driver_files import DriverFiles, DriverPlaces, DriverVersions
from tests.rig.nvml.driver import DriverFiles as SimulatedDriver


def places(root: Path) -> DriverPlaces:
    return DriverPlaces(
        loaded_module=(root / "proc/driver/nvidia/version", root / "sys/module/nvidia/version"),
        loader_cache=root / "etc/ld.so.cache",
        library_directories=(root / "usr/lib/x86_64-linux-gnu",),
        mappings=root / "maps",
        modinfo=(sys.executable, "-c", "raise SystemExit(1)"),
    )


@pytest.fixture
def driver(tmp_path: Path) -> SimulatedDriver:
    (tmp_path / "library").write_text("")
    return SimulatedDriver(tmp_path, tmp_path / "library")


def test_a_host_without_a_driver_has_nothing_of_one(tmp_path: Path) -> None:
    versions = DriverFiles(places(tmp_path)).read()
    assert versions == DriverVersions()
    assert not versions.present


def test_the_versions_of_library_and_module_are_found(
    tmp_path: Path, driver: SimulatedDriver
) -> None:
    driver.install_library("595.71.05")
    driver.load_module("580.65.06")
    modinfo = (sys.executable, "-c", "print('595.71.05')")
    found = DriverFiles(replace(places(tmp_path), modinfo=modinfo)).read()
    assert (found.library_version, found.module_version) == ("595.71.05", "580.65.06")
    assert found.installed_module_version == "595.71.05"


def test_an_upgrade_is_seen_by_the_next_look(tmp_path: Path, driver: SimulatedDriver) -> None:
    driver.install_library("570.172.08")
    driver.load_module("570.172.08")
    files = DriverFiles(places(tmp_path))
    assert files.read().library_version == "570.172.08"
    driver.install_library("580.82.07")
    assert files.read().library_version == "580.82.07"
    driver.load_module("580.82.07")
    assert files.read().module_version == "580.82.07"
    driver.unload_module()
    assert files.read().module_version == ""


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.256.02  Thu May\n", "470.256.02"),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  580.95.05  Release\n",
            "580.95.05",
        ),
    ],
)
def test_both_kinds_of_module_say_their_version(tmp_path: Path, text: str, version: str) -> None:
    file = tmp_path / "proc/driver/nvidia/version"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert DriverFiles(places(tmp_path)).read().module_version == version


def test_the_module_parameter_serves_where_proc_has_no_driver(tmp_path: Path) -> None:
    file = tmp_path / "sys/module/nvidia/version"
    file.parent.mkdir(parents=True)
    file.write_text("595.71.05\n")
    assert DriverFiles(places(tmp_path)).read().module_version == "595.71.05"


def test_the_loaders_cache_names_a_library_elsewhere(tmp_path: Path) -> None:
    real = tmp_path / "opt/nvidia/libnvidia-ml.so.555.42.02"
    real.parent.mkdir(parents=True)
    real.write_text("")
    link = real.with_name("libnvidia-ml.so.1")
    link.symlink_to(real.name)
    cache = tmp_path / "etc/ld.so.cache"
    cache.parent.mkdir()
    cache.write_bytes(b"glibc-ld.so.cache1.1\0libnvidia-ml.so.1\0" + str(link).encode() + b"\0")
    found = DriverFiles(places(tmp_path)).read()
    assert (found.library, found.library_version) == (link, "555.42.02")


def test_the_mapped_library_is_known_after_it_was_replaced_on_disk(tmp_path: Path) -> None:
    path = "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.65.06 (deleted)"
    (tmp_path / "maps").write_text(f"7f00-7f01 r-xp 00000000 00:1d 77 {path}\n")
    assert DriverFiles(places(tmp_path)).read().mapped_version == "580.65.06"


def test_modinfo_is_asked_again_only_when_something_changed(
    tmp_path: Path, driver: SimulatedDriver
) -> None:
    asked = tmp_path / "asked"
    code = f"open({str(asked)!r}, 'a').write('x'); print('1.2')"
    files = DriverFiles(replace(places(tmp_path), modinfo=(sys.executable, "-c", code)))
    files.read()
    assert not asked.exists(), "nothing of a driver is there"
    driver.load_module("595.71.05")
    for _ in range(3):
        assert files.read().installed_module_version == "1.2"
    assert asked.read_text() == "x"


def test_a_host_without_modinfo_is_no_trouble(tmp_path: Path, driver: SimulatedDriver) -> None:
    driver.load_module("595.71.05")
    files = DriverFiles(replace(places(tmp_path), modinfo=("/nonexistent/modinfo",)))
    assert files.read().installed_module_version == ""
