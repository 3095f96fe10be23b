# SPDX-License-Identifier: Apache-2.0
"""Debian 13's systemd has other states on the way to an automatic restart: the same must hold."""

from __future__ import annotations

import pytest

from tests.conftest import Boot
from tests.container.test_daemon import (
    test_a_mistake_in_the_arguments_is_held_and_says_what_to_do,
    test_an_operators_stop_is_respected_and_so_is_the_start,
    test_an_unknown_crash_is_tried_again,
    test_engine_death_with_exit_status_0_brings_it_back,
    test_without_a_service_the_agent_runs_and_says_so,
)
from tests.rig import binds
from tests.rig.installed import Agent

__all__ = [
    "test_a_mistake_in_the_arguments_is_held_and_says_what_to_do",
    "test_an_operators_stop_is_respected_and_so_is_the_start",
    "test_an_unknown_crash_is_tried_again",
    "test_engine_death_with_exit_status_0_brings_it_back",
    "test_without_a_service_the_agent_runs_and_says_so",
]


@pytest.fixture(scope="module")
def machine(boot_for_module: Boot) -> Agent:
    """Returns a Debian 13 with the package installed."""
    agent = Agent(boot_for_module("trixie", binds=[binds.scripted_engine()]))
    agent.install()
    return agent
