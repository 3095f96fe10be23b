# SPDX-License-Identifier: Apache-2.0
"""Learned settings of a group come to the same on all hosts, in whatever order they are heard."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.core.cluster.lessons import NO_LESSONS, Lessons, newer, with_own, within
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import Tunable

NAMES = ("max_num_seqs", "max_model_len")
HOSTS = 3
Running = dict[str, tuple[Tunable, str]]
CHANGES = st.lists(
    st.tuples(
        st.integers(0, HOSTS - 1),
        st.one_of(
            st.tuples(st.sampled_from(NAMES), st.one_of(st.none(), st.integers(1, 99))),
            st.integers(0, HOSTS - 1),
        ),
    ),
    max_size=30,
)
"""On a host: a setting that it learns (None: drops), or another host that it hears."""


def heard(mine: Lessons, running: Running, theirs: Lessons) -> tuple[Lessons, Running]:
    taken = dict(newer(mine, theirs))
    now = {
        name: value
        for name, value in running.items()
        if name not in taken or taken[name].value is not None
    }
    for name, one in taken.items():
        if one.value is not None:
            now[name] = (one.value, one.why)
    return {**mine, **taken}, now


@given(CHANGES)
def test_all_hosts_run_the_same_once_they_have_heard_each_other(
    changes: list[tuple[int, tuple[str, Tunable | None] | int]],
) -> None:
    lessons: list[Lessons] = [NO_LESSONS] * HOSTS
    running: list[Running] = [{} for _ in range(HOSTS)]
    for host, change in changes:
        if isinstance(change, int):
            lessons[host], running[host] = heard(lessons[host], running[host], lessons[change])
            continue
        name, value = change
        if value is None:
            running[host].pop(name, None)
        else:
            running[host][name] = (value, "learned")
        lessons[host] = with_own(lessons[host], running[host], host)
    for _ in range(2):
        for host in range(HOSTS):
            for other in range(HOSTS):
                lessons[host], running[host] = heard(lessons[host], running[host], lessons[other])
                lessons[host] = with_own(lessons[host], running[host], host)
    values = [{name: value for name, (value, _) in own.items()} for own in running]
    assert values[0] == values[1] == values[2]
    assert lessons[0] == lessons[1] == lessons[2]


@given(CHANGES)
def test_a_lesson_is_new_once(
    changes: list[tuple[int, tuple[str, Tunable | None] | int]],
) -> None:
    running: Running = {}
    lessons: Lessons = NO_LESSONS
    for _, change in changes:
        if isinstance(change, tuple) and change[1] is not None:
            running[change[0]] = (change[1], "")
            lessons = with_own(lessons, running, 0)
    assert with_own(lessons, running, 0) is lessons
    assert list(newer(lessons, lessons)) == []


def test_a_host_goes_with_others_as_far_as_its_own_recovery() -> None:
    own = Recovery(min_max_num_seqs=8, allow_enforce_eager=False)
    assert within("max_num_seqs", 8, own)
    assert not within("max_num_seqs", 7, own)
    assert not within("enforce_eager", value=True, recovery=own)
    assert not within("VLLM_USE_DEEP_GEMM=0", value=True, recovery=own)
    assert within("VLLM_USE_DEEP_GEMM=0", value=True, recovery=Recovery(allow_switches=True))
    assert within("max_num_seqs", None, own)
