# SPDX-License-Identifier: Apache-2.0
"""What is written on the control socket is judged like any stranger's text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.state.steering.asked import LONGEST_REQUEST
from agent.core.state.steering.requests import (
    AskDrain,
    AskPause,
    AskRestart,
    AskResume,
    BadRequestError,
    request_of,
)


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ('{"do": "pause", "service": "vllm", "seconds": 7200}', AskPause("vllm", 7200.0)),
        ('{"do": "pause", "seconds": 60}', AskPause("", 60.0)),
        ('{"do": "resume"}', AskResume("")),
        ('{"do": "restart", "service": "vllm"}', AskRestart("vllm")),
        (
            '{"do": "restart", "service": "vllm", "time_of_day": 10800, "every_day": true}',
            AskRestart("vllm", 10800.0, every_day=True),
        ),
        ('{"do": "drain", "service": "vllm", "seconds": 0}', AskDrain("vllm", 0.0)),
    ],
)
def test_a_request_is_understood(text: str, request_: object) -> None:
    assert request_of(text) == request_


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pause vllm", "one line of JSON"),
        ("[" * 4000, "one line of JSON"),
        ("[]", "is an object"),
        ('{"do": "shutdown"}', "nothing that can be asked; known: pause, resume, restart, drain"),
        ('{"do": ["pause"]}', "a list is nothing that can be asked"),
        ('{"do": "pause"}', "seconds is null, not a number"),
        ('{"do": "pause", "seconds": true}', "seconds is true, not a number"),
        ('{"do": "pause", "seconds": 1e999}', "between 60 and 604800"),
        ('{"do": "pause", "seconds": NaN}', "between 60 and 604800"),
        ('{"do": "pause", "seconds": -1}', "between 60 and 604800"),
        ('{"do": "pause", "seconds": 60, "force": 1}', 'has no "force"'),
        ('{"do": "pause", "service": 5, "seconds": 60}', "service is 5, not a name"),
        ('{"do": "drain", "seconds": 60}', "must name a service"),
        ('{"do": "restart", "service": "a", "every_day": true}', "needs a time of day"),
        ('{"do": "restart", "service": "a", "when_idle": "yes"}', "not true or false"),
        ('{"do": "restart", "service": "a", "time_of_day": 86400}', "between 0 and 86399"),
        (" " * (LONGEST_REQUEST + 1), "at most 4096 characters"),
        ('{"do": ' + "9" * 4000 + "}", "a huge number is nothing"),
        ('{"do": "a\\u001b[2Jb"}', "nothing that can be asked"),
    ],
    ids=lambda value: value[:30],
)
def test_what_is_wrong_with_a_request_is_said_in_one_plain_line(text: str, says: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        request_of(text)
    assert says in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@given(
    st.text(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: (
            st.dictionaries(
                st.sampled_from(["do", "service", "seconds", "time_of_day", "when_idle", "x"]),
                inner,
            )
            | st.lists(inner)
        ),
    ).map(json.dumps)
)
def test_no_text_raises_anything_else(text: str) -> None:
    said = ""
    try:
        request_of(text)
    except BadRequestError as error:
        said = str(error)
    assert said == "" or said.isprintable()
