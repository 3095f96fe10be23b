# SPDX-License-Identifier: Apache-2.0
"""Fixtures that boot machines, and the marks that tell which tests need them."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Protocol

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from tests.rig.container import Bind, Container, Suite
from tests.rig.lan import Lan
from tests.rig.nspawn import sweep
from tests.rig.nvsim import HostGpus
from tests.turns import group_of, turn_of

LIVE: Final[list[Container]] = []
"""The machines that are on, to be asked what they logged when a test fails."""
MARKS: Final = {"container": "container", "vllm": "vllm"}
"""Mark by directory of tests/."""


# A busy machine is no fault of the code: no example has a wall-clock limit.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


class Boot(Protocol):
    """Boots machines for as long as the fixture lives."""

    def __call__(
        self,
        suite: Suite,
        *,
        binds: Sequence[Bind] = (),
        memory_limit: int = 0,
        unified: bool = False,
        lan: Lan | None = None,
    ) -> Container:
        """Returns a machine that is up; the arguments are those of Container."""


@contextmanager
def machines() -> Iterator[Boot]:
    if os.geteuid() != 0:
        # A suite that skips its containers in CI would pass having proven little.
        tell = pytest.fail if os.environ.get("CI") else pytest.skip
        tell("containers need root")
    with ExitStack() as machines:

        def boot(
            suite: Suite,
            *,
            binds: Sequence[Bind] = (),
            memory_limit: int = 0,
            unified: bool = False,
            lan: Lan | None = None,
        ) -> Container:
            machine = machines.enter_context(
                Container(suite, binds=binds, memory_limit=memory_limit, unified=unified, lan=lan)
            )
            LIVE.append(machine)
            machines.callback(LIVE.remove, machine)
            return machine

        yield boot


@pytest.fixture
def boot() -> Iterator[Boot]:
    """Boots machines for one test."""
    with machines() as boots:
        yield boots


@pytest.fixture(scope="module")
def boot_for_module() -> Iterator[Boot]:
    """Boots machines that the tests of one module share."""
    with machines() as boots:
        yield boots


@pytest.fixture
def bookworm(boot: Boot) -> Container:
    """Returns a fresh Debian 12 for one test."""
    return boot("bookworm")


@pytest.fixture
def trixie(boot: Boot) -> Container:
    """Returns a fresh Debian 13 for one test."""
    return boot("trixie")


@pytest.fixture
def gpus(tmp_path: Path) -> HostGpus:
    """Returns simulated GPUs for programs that a test starts; no card and no driver yet."""
    return HostGpus(tmp_path)


def pytest_sessionstart() -> None:
    """Clears away what killed test runs have left."""
    sweep()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests by the directory that they are in; puts those on machines in their turns."""
    here = Path(__file__).parent
    items.sort(key=lambda item: turn_of(item.nodeid))
    for item in items:
        if mark := MARKS.get(item.path.relative_to(here).parts[0]):
            item.add_marker(mark)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    """Has `--dist=loadfile` keep to the turns of tests.turns."""
    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    # Not a subclass, as xdist's own schedulers are: it has no types to derive from.
    scheduler: object = LoadScopeScheduling(config, log)
    vars(scheduler)["_split_scope"] = group_of
    return scheduler


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the end of each machine's journal to the report of a test that failed."""
    report = yield
    if report.failed:
        for machine in LIVE:
            report.sections.append((f"journal of the {machine.suite} machine", machine.tail()))
    return report
