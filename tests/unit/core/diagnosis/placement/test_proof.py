# SPDX-License-Identifier: Apache-2.0
"""A class whose remedy does harm where it is wrong needs more than the module of a frame."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cli.diagnose import remedy_of
from agent.core.failures.classes import FailureClass
from agent.core.failures.meaning import harms_when_wrong
from tests.catalogue.judging import DRAWN, frames_without_words, held_out, score
from tests.given.engine_logs import SIGNATURES, diagnose, died_in

F = FailureClass
LOADER = "vllm/model_executor/model_loader/odd_loader.py:call"
OF_ANYBODY = ("RuntimeError", "ValueError", "AssertionError", "KeyError", "TypeError", "Exception")
MODULES = sorted({m for rule in SIGNATURES.places.rules for m in rule.modules if m[0] not in ":*"})


@given(st.sampled_from(MODULES), st.sampled_from(OF_ANYBODY))
def test_what_any_code_throws_never_does_harm_for_where_it_came_from(
    module: str, exception: str
) -> None:
    """Whatever the module: no file is fetched, no card reset, nothing started for ever for it."""
    placed = SIGNATURES.places.place(f"{exception}: odd", [f"{module}/odd.py:f"])
    assert placed is None or placed.failure is None or not harms_when_wrong(placed.failure)


@pytest.mark.parametrize(
    ("frame", "exception", "failure"),
    [
        (LOADER, "safetensors_rust.SafetensorError: odd", F.WEIGHTS_CORRUPT),
        ("vllm/models/odd.py:load_weights", "KeyError: 'odd.scale'", F.WEIGHTS_MISMATCH),
        (LOADER, "ValueError: tensor odd.scale not found in odd", F.WEIGHTS_MISMATCH),
        ("vllm/distributed/odd.py:f", "TimeoutError", F.PEER_LOST),
        ("vllm/distributed/odd.py:f", "RuntimeError: rank 3 did not respond", F.PEER_LOST),
        ("ray/_private/odd.py:f", "ray.exceptions.NodeDiedError: odd", F.WORKER_DIED),
    ],
)
def test_its_words_its_own_name_or_its_own_function_are_proof(
    frame: str, exception: str, failure: FailureClass
) -> None:
    found = diagnose(died_in(frame, exception=exception))
    assert (found.failure, found.guessed) == (failure, False)


@pytest.mark.parametrize(
    ("frame", "exception"),
    [
        (LOADER, "KeyError: 'odd'"),
        ("vllm/distributed/odd.py:f", "RuntimeError: odd"),
        ("ray/_private/odd.py:f", "AssertionError: odd"),
        ("transformers/tokenization_odd.py:f", "ValueError: odd"),
        ("torch/cuda/odd.py:f", "RuntimeError: odd"),
        ("huggingface_hub/odd.py:f", "huggingface_hub.errors.OddError: odd"),
    ],
)
def test_without_proof_it_is_said_what_is_not_known_and_a_start_is_tried(
    frame: str, exception: str
) -> None:
    found = diagnose(died_in(frame, exception=exception))
    assert (found.failure, found.transient, found.guessed) == (F.ENGINE_BUG, None, True)
    assert "not known" in found.advice
    remedy = remedy_of(found)
    assert remedy["action"] == "restart"
    assert "not known" in str(remedy["why"])


def test_what_cannot_be_sent_to_a_process_is_no_broken_file() -> None:
    frame = "vllm/v1/executor/multiproc_executor.py:make_worker_process"
    said = "_pickle.PicklingError: odd"
    assert diagnose(died_in(frame, exception=said)).failure is F.ENGINE_BUG


@pytest.mark.parametrize("name", ["first", "second", "third", *DRAWN])
def test_frames_and_names_alone_are_never_dangerous(name: str) -> None:
    _, cases = held_out(name)
    assert score(cases, frames_without_words(SIGNATURES)).dangerous == 0
