# SPDX-License-Identifier: Apache-2.0
"""The scale of failure lines keeps its order, whatever makes a line a weaker witness."""

from __future__ import annotations

import re

import pytest

from agent.core.diagnosis.placement.places import Placed
from agent.core.diagnosis.signatures import Rank, Signature, SignatureKind
from agent.core.diagnosis.weights import NOTE, weight_of_line, weight_of_place
from agent.core.failures.classes import FailureClass


def of(rank: Rank, *, soft: bool = False, in_code: bool = False) -> float:
    signature = Signature("s", SignatureKind.FAILURE, re.compile("x"), ("x",), rank=rank)
    return weight_of_line(signature, {}, soft=soft, in_code=in_code)


def of_xid(code: int, rank: Rank = Rank.CAUSE) -> float:
    signature = Signature("xid", SignatureKind.FAILURE, re.compile("x"), ("x",), rank=rank)
    return weight_of_line(signature, {"xid": code}, soft=False, in_code=False)


def of_place(failure: FailureClass | None, *, by_words: bool = False) -> float:
    return weight_of_place(Placed("rule", "triton", failure, "E", "a.py:f", by_words, "", ()))


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("in_code", [False, True])
def test_a_cause_is_nearer_than_what_follows_from_it_however_it_is_told(
    soft: bool, in_code: bool
) -> None:
    weak = of(Rank.CAUSE, soft=soft, in_code=in_code)
    assert of(Rank.ROOT, soft=soft, in_code=in_code) < weak
    assert weak < of(Rank.SYMPTOM) < of(Rank.HEADLINE) < of(Rank.WRAPPER) < NOTE


def test_a_card_that_failed_explains_what_any_line_of_the_engine_says() -> None:
    assert of_xid(79) < of_xid(48) < of(Rank.ROOT)


def test_an_xid_that_the_process_brought_about_explains_no_more_than_a_symptom() -> None:
    assert of(Rank.CAUSE, soft=True) < of_xid(31) == of(Rank.SYMPTOM)
    assert of_xid(154) == of(Rank.SYMPTOM), "the summary of an Xid that was told before"


def test_an_xid_that_is_only_noted_ends_no_run() -> None:
    assert of_xid(63) >= NOTE > of(Rank.WRAPPER, in_code=True)


def test_of_an_exception_its_words_tell_more_than_its_frames_and_a_signature_more_than_both() -> (
    None
):
    by_words = of_place(FailureClass.ENGINE_BUG, by_words=True)
    by_frames = of_place(FailureClass.ENGINE_BUG)
    unnamed = of_place(None)
    assert of(Rank.CAUSE, soft=True, in_code=True) < by_words < of(Rank.SYMPTOM) < by_frames
    assert by_frames < unnamed < of(Rank.HEADLINE)
