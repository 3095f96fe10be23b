# SPDX-License-Identifier: Apache-2.0
"""What the numbers of an answer were before an activation, as far as it can be known."""

from __future__ import annotations

import pytest

from agent.core.engine.work import logits_of

HALF = (0.5, 0.25)
WORD = tuple(0.01 * number for number in range(64))


@pytest.mark.parametrize(
    ("item", "values", "without", "logits"),
    [
        pytest.param("score", (0.9997,), (8.1,), (8.1,), id="a sigmoid is turned off"),
        pytest.param("classification", HALF, (0.7, 0.0), (0.7, 0.0), id="a softmax, too"),
        pytest.param("score", (0.9997,), (0.9997,), (), id="the field is not heeded"),
        pytest.param("score", (0.9997,), None, (), id="an engine that knows no such field"),
        pytest.param("score", (-3.2,), None, (-3.2,), id="a score that has no activation"),
        pytest.param("pooling", (-0.02,), None, (-0.02,), id="a reward near 0"),
        pytest.param("pooling", (0.02,), (0.02,), (0.02,), id="a reward has no activation"),
        pytest.param("pooling", (0.02,), None, (), id="a reward or a share, nobody can ask"),
        pytest.param("pooling", (0.1, 0.9), (-1.0, 1.2), (-1.0, 1.2), id="shares of a step"),
        pytest.param("pooling", WORD, WORD, (), id="weights of words"),
        pytest.param("pooling", (-0.5, *WORD), None, (), id="an embedding of a token"),
        pytest.param("embedding", (0.6, 0.8), None, (), id="an embedding"),
        pytest.param("embedding", (-0.6, 0.8), None, (), id="another embedding"),
    ],
)
def test_numbers_of_a_head_are_known_as_logits_and_those_of_an_embedding_are_none(
    item: str,
    values: tuple[float, ...],
    without: tuple[float, ...] | None,
    logits: tuple[float, ...],
) -> None:
    assert logits_of(item, values, without) == logits
