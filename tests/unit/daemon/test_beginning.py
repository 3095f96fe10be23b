# SPDX-License-Identifier: Apache-2.0
"""A full or read-only disk at the agent's start: what was stored is still known, and kept."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.core.state.host import HostState, News
from agent.core.state.learned import Learned, Override
from agent.core.state.phases import Phase
from agent.core.state.service import ServiceState
from agent.daemon.beginning import COPY, REMOVED, STORE, open_store, removal
from agent.daemon.recorder import Recorder
from agent.host.machine.lock import AlreadyRunningError, InstanceLock
from agent.host.store.store import Store

LEARNED = {"gpu_memory_utilization": Override(0.95, 0.86, 1.0, "it ran out of memory")}
STOPPED = HostState(
    "boot",
    7,
    {"vllm": ServiceState("vllm", Phase.STOPPED, 5.0, learned=Learned(overrides=LEARNED))},
)
NEWS = [News("vllm", "stopped", "stopped by the operator")]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    state = tmp_path / "state"
    state.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(state)], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield state
    subprocess.run(["umount", str(state)], check=True)


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    runtime = tmp_path / "run"
    runtime.mkdir()
    return runtime


@pytest.fixture
def full_runtime(runtime: Path) -> Iterator[Path]:
    """A /run that has room for nothing."""
    mounted = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(runtime)]
    if subprocess.run(mounted, check=False).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    fill(runtime)
    yield runtime
    subprocess.run(["umount", str(runtime)], check=True)


def fill(directory: Path) -> None:
    """Take all the room there is."""
    with contextlib.suppress(OSError), (directory / "fill").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def remember(state: Path, *, killed: bool) -> None:
    """Record as the agent does; `killed` leaves the write-ahead log as a kill -9 does."""
    store, _ = Store.open(state / STORE)
    Recorder(store).record(HostState(), STOPPED, NEWS, 5.0)
    if killed:
        kept = {name: (state / f"{STORE}{name}").read_bytes() for name in ("", "-wal")}
    store.close()
    if killed:
        for name, content in kept.items():
            (state / f"{STORE}{name}").write_bytes(content)


def break_disk(state: Path, how: str) -> None:
    if how == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", str(state)], check=True)
        return
    filler = state / "filler"
    filler.write_bytes(b"x" * (os.statvfs(state).f_bavail * 4096))


def mend_disk(state: Path) -> None:
    subprocess.run(["mount", "-o", "remount,rw", str(state)], check=True)
    (state / "filler").unlink(missing_ok=True)


@pytest.mark.parametrize("killed", [False, True], ids=["closed", "killed"])
@pytest.mark.parametrize("how", ["read-only", "full"])
def test_what_was_stored_is_known_although_the_disk_cannot_be_written(
    disk: Path, runtime: Path, how: str, killed: bool
) -> None:
    remember(disk, killed=killed)
    break_disk(disk, how)
    store, volatile = open_store(disk, runtime)
    with store:
        state, problems = Recorder(store, volatile).load()
        assert problems == ()
        assert state.services["vllm"].phase is Phase.STOPPED
        assert state.services["vllm"].learned.overrides == LEARNED
    if how == "read-only" or killed:
        assert "only remembered until the next boot" in volatile
    assert not (runtime / COPY).exists()


def test_what_was_remembered_meanwhile_is_kept_for_good_once_the_disk_is_well(
    disk: Path, runtime: Path
) -> None:
    remember(disk, killed=True)
    break_disk(disk, "read-only")
    for again in ("first", "a new process"):
        store, volatile = open_store(disk, runtime)
        with store:
            recorder = Recorder(store, volatile)
            before, _ = recorder.load()
            services = {"vllm": ServiceState("vllm", Phase.SERVING, 9.0)}
            after = HostState("boot", 8, services, booted_at=5.5)
            recorder.record(before, after, [News("vllm", "serving", again)], 9.0)
    mend_disk(disk)
    store, volatile = open_store(disk, runtime)
    with store:
        assert volatile == ""
        remembered, _ = Recorder(store).load()
        assert remembered.services["vllm"].phase is Phase.SERVING
        assert (remembered.boot_id, remembered.booted_at) == ("boot", 5.5)
        told = [stored.event.message for stored in store.events()]
        assert told == ["stopped by the operator", "first", "a new process"]
    assert not (runtime / STORE).exists()


@pytest.mark.parametrize("killed", [False, True])
def test_where_no_disk_takes_anything_what_was_stored_is_known_and_the_agent_begins(
    disk: Path, full_runtime: Path, killed: bool
) -> None:
    remember(disk, killed=killed)
    fill(disk)
    (disk / f"{STORE}-shm").unlink(missing_ok=True)
    for number in range(2):  # it does not loop: the next process begins as well
        store, volatile = open_store(disk, full_runtime)
        with store:
            recorder = Recorder(store, volatile)
            state, problems = recorder.load()
            assert problems == ()
            assert state.services["vllm"].phase is Phase.STOPPED
            recorder.record(state, HostState(), NEWS, 5.0 + number)
            assert store.load_state() != {}
            assert not recorder.health.up


def test_the_lock_holds_where_there_is_no_room_for_its_number(full_runtime: Path) -> None:
    first = InstanceLock(full_runtime / "lock")
    with pytest.raises(AlreadyRunningError, match="as PID unknown"):
        InstanceLock(full_runtime / "lock")
    first.close()


def test_a_package_s_removal_is_known_again_where_nothing_can_be_taken_away(disk: Path) -> None:
    (disk / REMOVED).touch()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for _ in range(2):
        with removal(disk) as told:
            assert told


def test_a_store_that_cannot_be_read_either_is_said_to_be_lost(disk: Path, runtime: Path) -> None:
    remember(disk, killed=False)
    (disk / STORE).write_bytes(b"no database at all" * 100)
    break_disk(disk, "read-only")
    store, volatile = open_store(disk, runtime)
    with store:
        assert "what was remembered before is not known" in volatile
        assert Recorder(store).load()[0].services == {}


def test_a_line_of_the_history_that_cannot_be_written_stops_no_other(tmp_path: Path) -> None:
    store, _ = Store.open(tmp_path / STORE)
    with store:
        recorder = Recorder(store)
        odd = [
            News("vllm", "failure", "a lone surrogate \ud800", {"lines": [b"bytes", {1, 2}]}),
            News("vllm", "failure", "long " * 10_000, {"lines": ["x" * 1_000_000]}),
        ]
        recorder.record(HostState(), STOPPED, odd, float("nan"))
        recorder.record(STOPPED, STOPPED, NEWS, 5.0)
        assert recorder.health.up
        told = [stored.event.message for stored in store.events()]
        assert [len(message) for message in told] == [18, 4000, len(NEWS[0].message)]
    shutil.rmtree(tmp_path)
