# SPDX-License-Identifier: Apache-2.0
"""The usual machine: one for each module, on which every test begins anew."""

from __future__ import annotations

import pytest

from tests.conftest import Boot
from tests.rig import binds
from tests.rig.installed import Agent


@pytest.fixture(scope="module")
def machine(boot_for_module: Boot) -> Agent:
    """Returns a Debian 12 with the package installed."""
    agent = Agent(boot_for_module("bookworm", binds=[binds.scripted_engine()]))
    agent.install()
    return agent


@pytest.fixture
def agent(machine: Agent) -> Agent:
    """Returns the installed agent with nothing configured and nothing remembered."""
    machine.begin_anew()
    return machine
