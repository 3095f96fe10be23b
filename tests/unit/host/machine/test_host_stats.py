# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from agent.core.settings.service import Settings
from agent.core.state.host import HostState
from agent.core.state.service import Live, ServiceState
from agent.core.state.unit import UnitFacts
from agent.core.view.host import Disk, HostView, ServiceUsage
from agent.daemon.sources.host import DiskSource, HostSource, host_view, paths_of
from agent.host.machine.cgroups import Mounts, read_mounts, read_usage
from agent.host.machine.disk import disk_space
from agent.host.machine.figures import read_machine
from tests.given.some_host import HOST
from tests.given.some_snapshot import SNAPSHOT
from tests.unit.daemon.exporter.test_exporter import of, scrape

GIB = 1 << 30
LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units
Max processes             unlimited            unlimited            processes
Max open files            {soft}                 1048576              files
"""


def put(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def process(proc: Path, pid: int, cgroup: str, open_files: int, soft: str) -> None:
    put(proc / f"{pid}/cgroup", cgroup)
    put(proc / f"{pid}/limits", LIMITS.format(soft=soft))
    for number in range(open_files):
        put(proc / f"{pid}/fd/{number}", "")


def test_version_2_gives_every_figure(tmp_path: Path) -> None:
    group = tmp_path / "cgroup/system.slice/vllm.service"
    put(group / "cpu.stat", "usage_usec 2500000\nuser_usec 2000000\n")
    put(group / "memory.current", f"{GIB}\n")
    put(group / "memory.peak", f"{2 * GIB}\n")
    put(group / "cgroup.procs", "10\n11\n")
    put(tmp_path / "cgroup/system.slice/vllm.service-other/cgroup.procs", "12\n")
    process(tmp_path / "proc", 10, "0::/system.slice/vllm.service\n", 3, "1024")
    process(tmp_path / "proc", 11, "0::/system.slice/vllm.service\n", 5, "1024")
    mounts = Mounts({"": tmp_path / "cgroup"})
    usage = read_usage("vllm.service", 10, mounts, tmp_path / "proc")
    assert usage == ServiceUsage(2, 2.5, GIB, 2 * GIB, 5, 1024)


def test_the_processes_of_a_container_within_the_unit_are_the_units(tmp_path: Path) -> None:
    unit = tmp_path / "cgroup/system.slice/vllm.service"
    for group, pid in ((unit, ""), (unit / "runtime", "10\n"), (unit / "libpod-ab/init", "11\n")):
        put(group / "cgroup.procs", pid)
    process(tmp_path / "proc", 10, "0::/system.slice/vllm.service/runtime\n", 3, "1024")
    process(tmp_path / "proc", 11, "0::/system.slice/vllm.service/libpod-ab/init\n", 5, "1024")
    usage = read_usage("vllm.service", 10, Mounts({"": tmp_path / "cgroup"}), tmp_path / "proc")
    assert (usage.processes, usage.open_files) == (2, 5)


def test_version_1_gives_what_it_accounts_for(tmp_path: Path) -> None:
    text = "5:cpu,cpuacct:/system.slice\n4:memory:/system.slice/vllm.service\n0::/\n"
    memory = tmp_path / "memory/system.slice/vllm.service"
    put(memory / "memory.usage_in_bytes", "1000\n")
    put(memory / "memory.max_usage_in_bytes", "2000\n")
    put(memory / "cgroup.procs", "10\n")
    put(tmp_path / "cpu/system.slice/cpuacct.usage", "9000000000\n")
    process(tmp_path / "proc", 10, text, 2, "1024")
    mounts = Mounts(
        {"memory": tmp_path / "memory", "cpuacct": tmp_path / "cpu", "": tmp_path / "unified"}
    )
    usage = read_usage("vllm.service", 10, mounts, tmp_path / "proc")
    assert usage == ServiceUsage(1, None, 1000, 2000, 2, 1024)


def test_cpu_time_of_version_1_is_in_nanoseconds(tmp_path: Path) -> None:
    put(tmp_path / "cpu/system.slice/vllm.service/cpuacct.usage", "1500000000\n")
    process(tmp_path / "proc", 10, "5:cpu,cpuacct:/system.slice/vllm.service\n", 1, "1024")
    mounts = Mounts({"cpuacct": tmp_path / "cpu"})
    assert read_usage("vllm.service", 10, mounts, tmp_path / "proc").cpu_seconds == 1.5


def test_no_limit_is_no_number(tmp_path: Path) -> None:
    process(tmp_path / "proc", 10, "0::/system.slice/vllm.service\n", 1, "unlimited")
    usage = read_usage("vllm.service", 10, Mounts({}), tmp_path / "proc")
    assert (usage.open_files, usage.open_files_limit) == (None, None)


def test_the_real_kernel_answers() -> None:
    mounts = read_mounts()
    assert mounts.directories
    usage = read_usage("no.service", os.getpid(), mounts)
    assert usage.processes == 1
    assert usage.cpu_seconds is None
    assert usage.open_files
    machine = read_machine()
    assert 0 < machine.memory_available_bytes <= machine.memory_total_bytes
    assert machine.load1 >= 0


def test_a_process_that_is_gone_is_an_error() -> None:
    with pytest.raises(OSError, match="No such file"):
        read_usage("vllm.service", 2**31, read_mounts())


def test_space_is_that_of_the_nearest_directory_that_exists(tmp_path: Path) -> None:
    there = disk_space(str(tmp_path))
    not_yet = disk_space(str(tmp_path / "huggingface/hub"))
    assert not_yet.path.endswith("huggingface/hub")
    assert not_yet.size_bytes == there.size_bytes > 0


def running(pid: int, **settings: object) -> HostState:
    given = replace(Settings("vllm", "org/model"), **settings)  # type: ignore[arg-type]
    unit = UnitFacts("active", "running", main_pid=pid)
    service = ServiceState("vllm", running=given, live=Live(unit=unit))
    return HostState(services={"vllm": service})


def test_the_cache_of_the_models_is_asked_for_its_space_where_it_is() -> None:
    assert paths_of(HostState()) == ()
    assert paths_of(running(1)) == ("/var/lib/vllm/huggingface", "/var/cache/vllm")
    elsewhere = running(1, environment={"HF_HOME": "/srv/hf"})
    assert paths_of(elsewhere) == ("/srv/hf", "/var/cache/vllm")


def looked(*sources: HostSource | DiskSource) -> None:
    """Has each look once."""
    for source in sources:
        source.wake()
        thread = threading.Thread(target=source.look, daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()


def test_both_sources_together_are_the_view_of_the_host() -> None:
    state = running(os.getpid())
    host, disk = (
        HostSource(lambda: state, lambda: 1000.0),
        DiskSource(lambda: state, lambda: 1000.0),
    )
    assert host_view(host, disk, 1000.0) == HostView()
    looked(host, disk)
    view = host_view(host, disk, 1001.0)
    assert view.machine is not None
    assert [disk.path for disk in view.disks] == ["/var/lib/vllm/huggingface", "/var/cache/vllm"]
    assert view.services["vllm"].open_files


def test_figures_of_a_source_that_hangs_are_not_shown_for_ever() -> None:
    state = running(os.getpid())
    host, disk = (
        HostSource(lambda: state, lambda: 1000.0),
        DiskSource(lambda: state, lambda: 1000.0),
    )
    looked(host, disk)
    assert host_view(host, disk, 1050.0) == HostView(disks=host_view(host, disk, 1001.0).disks)
    assert host_view(host, disk, 1100.0) == HostView()


def test_a_file_system_that_fails_does_not_hide_the_others() -> None:
    too_long = "/" + "x" * 300
    state = running(1, environment={"HF_HOME": too_long})
    disk = DiskSource(lambda: state, lambda: 1000.0)
    with pytest.raises(OSError, match="too long"):
        disk.look()
    assert disk.latest is not None
    assert [found.path for found in disk.latest[1]] == ["/var/cache/vllm"]


def test_the_exporter_shows_the_host_and_what_services_use_of_it() -> None:
    found = scrape(replace(SNAPSHOT, host=HOST))
    assert of(found, "llmagent_host_memory_available_bytes") == 60 * GIB
    assert of(found, "llmagent_host_load1") == 1.5
    assert of(found, "llmagent_host_disk_free_bytes", path="/var/cache/vllm") == 40 * GIB
    assert of(found, "llmagent_host_service_cpu_seconds_total", service="vllm") == 12.5
    assert of(found, "llmagent_host_service_max_fds", service="vllm") == 1048576


def test_the_exporter_leaves_out_what_is_not_known_or_not_wanted() -> None:
    part = HostView(disks=(Disk("/x", 2, 1),), services={"vllm": ServiceUsage(1)})
    found = scrape(replace(SNAPSHOT, host=part))
    assert of(found, "llmagent_host_service_processes", service="vllm") == 1
    assert of(found, "llmagent_host_service_cpu_seconds_total", service="vllm") is None
    assert of(found, "llmagent_host_memory_total_bytes") is None
    assert not any("host" in name for name, _ in scrape(SNAPSHOT))
