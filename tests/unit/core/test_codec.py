# SPDX-License-Identifier: Apache-2.0
"""What is remembered is read back as it was."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.codec import LARGEST, decode, encode
from agent.core.failures.classes import EnginePhase, FailureClass
from agent.core.remedy.case import Bound
from agent.core.settings.service import Settings
from agent.core.state.actions import Asked
from agent.core.state.learned import Learned, Override
from agent.core.state.phases import Phase, Then
from agent.core.state.service import Died, Failure, ServiceState
from agent.core.verify.check import Check, Verdict

times = st.floats(0, 4e9)
texts = st.text(max_size=20)
classes = st.sampled_from(sorted(FailureClass))
states = st.builds(
    ServiceState,
    name=texts,
    phase=st.sampled_from(Phase),
    since=times,
    reason=texts,
    asked=st.none()
    | st.builds(
        Asked,
        st.integers(0, LARGEST - 1),
        times,
        st.booleans(),
        st.sampled_from(Then),
        st.none() | classes,
        texts,
    ),
    running=st.none()
    | st.builds(
        Settings,
        name=texts,
        model=texts,
        gpus=st.lists(texts, max_size=3).map(tuple),
        environment=st.dictionaries(texts, texts, max_size=3),
        gpu_memory_utilization=st.none() | st.floats(0, 1),
        enforce_eager=st.none() | st.booleans(),
    ),
    learned=st.builds(
        Learned,
        overrides=st.dictionaries(
            texts,
            st.builds(
                Override,
                st.none() | st.floats(0, 1) | st.integers(-LARGEST, LARGEST - 1),
                st.floats(0, 1) | st.integers(-LARGEST, LARGEST - 1) | st.booleans(),
                times,
                texts,
            ),
            max_size=3,
        ),
        bounds=st.dictionaries(
            texts, st.builds(Bound, st.none() | times, st.none() | times, st.booleans()), max_size=2
        ),
        spent=st.dictionaries(classes, st.integers(0, LARGEST - 1), max_size=3),
    ),
    recent_starts=st.lists(times, max_size=4).map(tuple),
    died=st.none()
    | st.builds(Died, times, st.sampled_from(Phase), texts, st.integers(0, 6), st.integers(0, 255)),
    failure=st.none()
    | st.builds(
        Failure,
        times,
        classes,
        st.sampled_from(EnginePhase),
        st.lists(texts, max_size=3).map(tuple),
        texts,
    ),
    checks=st.lists(
        st.builds(Check, texts, texts, texts, st.sampled_from(Verdict), texts, texts), max_size=3
    ).map(tuple),
    phase_seconds=st.dictionaries(st.sampled_from(Phase), times, max_size=3),
)


@given(states)
def test_a_state_survives_being_recorded(state: ServiceState) -> None:
    text = json.dumps(encode(state, frozenset({"live"})))
    assert decode(ServiceState, json.loads(text)) == state


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-LARGEST, LARGEST - 1) | texts,
        lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    )
)
def test_garbage_is_refused_and_never_half_read(data: object) -> None:
    if isinstance(data, dict) and "name" in data:
        return
    with pytest.raises((TypeError, ValueError)):
        decode(ServiceState, data)


def test_keys_of_a_newer_version_are_ignored() -> None:
    assert decode(ServiceState, {"name": "vllm", "from_the_future": 1}) == ServiceState("vllm")
