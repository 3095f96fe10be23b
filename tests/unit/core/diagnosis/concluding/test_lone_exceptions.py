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


OF_A_REQUEST = """\
Traceback (most recent call last):
  File "/opt/odd/lib/python3.12/site-packages/transformers/odd_processing.py", line 12, in __call__
    raise ValueError("an odd picture")
ValueError: an odd picture

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/opt/odd/lib/python3.12/site-packages/vllm/v1/engine/async_llm.py", line 237, in add_request
    request = self.processor.process_inputs(
ValueError: the odd picture was not read"""

OF_A_CLIENT = """\
Traceback (most recent call last):
  File "/home/odd/client.py", line 12, in <module>
    client.chat.completions.create(
  File "/home/odd/lib/python3.12/site-packages/openai/_base_client.py", line 919, in request
    raise self._make_status_error_from_response(err.response) from None
openai.InternalServerError: Error code: 500"""

OF_A_CLIENTS_CHECK = """\
Traceback (most recent call last):
  File "/home/odd/lib/python3.12/site-packages/openai/resources/odd.py", line 13, in create
    return Usage(
pydantic_core._pydantic_core.ValidationError: 1 validation error for Usage
tokens
  Field required [type=missing, input_value={}, input_type=dict]"""


@pytest.mark.parametrize("piece", [OF_A_REQUEST, OF_A_CLIENT, OF_A_CLIENTS_CHECK])
def test_what_a_request_or_a_client_threw_is_no_fault_of_the_engine(piece: str) -> None:
    found = diagnose(piece)
    assert (found.failure, found.evidence) == (None, ())


def test_an_engine_that_died_while_a_request_came_in_is_dead() -> None:
    ended = OF_A_REQUEST.replace(
        "ValueError: the odd picture was not read",
        "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack "
        "trace (above) for the root cause.",
    )
    assert diagnose(ended).outcome is Outcome.FAILED


def test_an_engine_of_whose_step_a_request_is_part_died_of_it() -> None:
    found = diagnose(
        "Traceback (most recent call last):\n"
        '  File "/opt/odd/lib/python3.12/site-packages/vllm/v1/engine/llm_engine.py", line 7, '
        "in add_request\n    self.step()\n"
        '  File "/opt/odd/lib/python3.12/site-packages/vllm/v1/worker/gpu_worker.py", line 8, '
        "in execute_model\n    odd()\n"
        "AttributeError: 'NoneType' object has no attribute 'odd'"
    )
    assert (found.outcome, found.failure) == (Outcome.FAILED, F.ENGINE_BUG)


def test_an_exception_of_another_program_between_the_lines_of_a_start_ends_nothing() -> None:
    """TensorFlow's protobuf prints such a one for each of its imports, and goes on."""
    first, rest = LOADING.strip("\n").rsplit("\n", 1)
    found = diagnose(f"{first}\nAttributeError: 'Odd' object has no attribute 'odd'\n{rest}")
    assert (found.outcome, found.failure) == (Outcome.RUNNING, None)


def test_what_the_engines_client_says_in_python_s_own_form_is_its_word() -> None:
    """vLLM before 0.11 logs the exception itself, as repr() shows it."""
    said = (
        'INFO:     10.0.0.9:6 - "POST /v1/completions HTTP/1.1" 200 OK\n'
        "ERROR 11-28 16:34:02 client.py:244] TimeoutError('No heartbeat received from MQLLMEngine')"
    )
    assert diagnose(said).failure is F.ENGINE_HUNG
