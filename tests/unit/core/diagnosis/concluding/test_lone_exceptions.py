# SPDX-License-Identifier: Apache-2.0
"""A log of which somebody kept only the exception that ended it."""

from __future__ import annotations

import pytest

from agent.core.failures.classes import FailureClass as F
from agent.core.failures.classes import Outcome
from tests.given.engine_logs import LOADING, diagnose


@pytest.mark.parametrize(
    "line",
    [
        "ValueError: an odd thing that no release of vLLM says",
        "some.package.errors.OddError: it is Tuesday",
        "ValueError: an odd thing\nIts second line, which explains little.",
    ],
)
def test_an_unknown_exception_alone_is_no_log_of_a_server_that_runs(line: str) -> None:
    found = diagnose(line)
    assert (found.outcome, found.failure) == (Outcome.FAILED, F.UNKNOWN)
    assert found.evidence == (line.split("\n")[0],)


def test_the_words_of_an_exception_alone_place_it() -> None:
    said = "ValueError: Ray does not allocate any GPUs on the driver node."
    assert diagnose(said).failure is F.RAY_NODES_MISSING


def test_an_exception_that_a_start_script_printed_first_is_not_the_servers() -> None:
    found = diagnose(f"ValueError: no profile, so the default one is taken\n{LOADING}")
    assert (found.outcome, found.failure) == (Outcome.RUNNING, None)


def test_a_log_that_ends_by_ctrl_c_has_no_fault() -> None:
    assert diagnose("KeyboardInterrupt").outcome is Outcome.STOPPED


def test_a_server_that_could_not_bind_behind_its_start_up_has_not_served() -> None:
    """vLLM before 0.7 binds last: uvicorn says that it came up, and then that it may not listen."""
    found = diagnose(
        f"{LOADING}\nINFO:     Started server process [410]\n"
        "INFO:     Application startup complete.\n"
        "ERROR:    [Errno 98] error while attempting to bind on address ('0.0.0.0', 8100): address "
        "already in use\nINFO:     Waiting for application shutdown.\n"
        "INFO:     Application shutdown complete."
    )
    assert (found.outcome, found.failure) == (Outcome.FAILED, F.PORT_IN_USE)
    assert found.numbers.port == 8100
