# SPDX-License-Identifier: Apache-2.0
"""What is known by its shape is taken at once, and changes what every line by itself would."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.diagnosis.carried.services import ServicesReader
from agent.core.diagnosis.familiar.blanks import Blanks, of_any_digit, shape_of
from agent.core.diagnosis.familiar.reader import MAX_FORMS, FamiliarReader
from agent.core.diagnosis.reader import LogReader
from agent.core.diagnosis.run import Run
from tests.given.engine_logs import SERVING, SIGNATURES, STARTING
from tests.given.engine_words import WORDS

STATE = ("_provenance", "_followers", "_wrapped", "_tail", "_activity", "_progress")
ENGINE = "(EngineCore_DP{0} pid=2) WARNING 11-21 03:10:{1:02} [scheduler.py:{2}] "
SERVER = "(APIServer pid=1) ERROR 11-21 03:10:0{1} [serving.py:{0}] "
BARE = "(APIServer pid=1) "
HEAD = "Traceback (most recent call last):"
FRAME = '  File "/usr/lib/python3.12/site-packages/starlette/routing.py", line {0}, in handle'
FAMILIES = (
    ENGINE + "some odd thing happened with seq {1}",
    ENGINE + "some odd thing happened with seq {1}",
    ENGINE + "a client's request said \"odd {0}",
    ENGINE + "Error {2}: odd",
    ENGINE + "worker exited with exit code {2}",
    ENGINE + "ValueError: odd {0}",
    ENGINE + HEAD,
    ENGINE + FRAME,
    BARE + "INFO 11-21 03:10:01 [loggers.py:{0}] odd step {1}",
    BARE + "INFO 11-21 03:10:01 [loggers.py:{0}] odd step {1}",
    ENGINE + "CUDA out of memory. Tried to allocate {0}.00 GiB.",
    ENGINE + "No available shared memory broadcast block found in {1} seconds.",
    "(EngineCore pid=2) ERROR 11-21 03:10:01 [core.py:{0}] odd step {1}",
    "INFO 11-21 03:10:0{0} [h1{0}_impl.py:{1}] odd step {2}",
    SERVER + "Error in preprocessing prompt 'odd {2}",
    SERVER + HEAD,
    SERVER + FRAME,
    SERVER + "    await self.app(scope, {0})",
    SERVER + "ValueError: odd {1}",
    SERVER + 'odd - "GET /v1/odd{0} HTTP/1.1" 404',
    "ERROR:    Exception in ASGI application",
    BARE + "ERROR:    Exception in ASGI application",
    BARE + HEAD,
    BARE + FRAME,
    BARE + "    await self.app(scope, {0})",
    BARE + "ValueError: odd {1}",
    HEAD,
    FRAME,
    "    await self.app(scope, {0})",
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {0}.00 GiB.",
    'INFO:     10.0.0.{1}:4{2} - "POST /v1/completions HTTP/1.1" 200 OK',
    BARE + 'INFO:     10.0.0.{1}:4{2} - "POST /v1/completions HTTP/1.1" 400 Bad Request',
    "INFO 11-21 03:10:0{0} metrics.py:455] Avg prompt throughput: {0}.0 tokens/s, Avg generation "
    "throughput: {1}.0 tokens/s, Running: {0} reqs, Swapped: 0 reqs, Pending: 1 reqs, GPU KV cache "
    "usage: 0.1%, CPU KV cache usage: 0.0%.",
    "vllm-{0}  | " + ENGINE + "some odd thing happened with seq {1}",
    "==> /var/log/odd{0}.log <==",
    "",
    *(lines[0] for lines in WORDS.values()),
)
LINES = st.lists(
    st.builds(
        lambda family, a, b, c, times: [family(a, b, c + n) for n in range(times)],
        st.sampled_from(FAMILIES).map(lambda f: f.format if "{0" in f else lambda *_: f),
        st.integers(0, 2),
        st.sampled_from([1, 7, 42]),
        st.sampled_from([0, 79, 135, 137, 802]),
        st.sampled_from([1, 1, 2, 3, 30]),
    ),
    max_size=30,
).map(lambda runs: [line for run in runs for line in run])


def state_of(reader: LogReader) -> dict[str, object]:
    """Return all that a reader has in mind of what it read."""
    assert reader.kept is not None
    run: Run = vars(reader)["_run"]
    of_the_run = {f.name: getattr(run, f.name) for f in fields(run)} | {"book": run.book.facts()}
    mind = {name: vars(reader)[name] for name in STATE}
    carriers = {k: v for k, v in vars(vars(reader)["_carriers"]).items() if k != "_forms"}
    return {**mind, **of_the_run, "carriers": carriers}


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(["", STARTING, SERVING]), LINES, st.booleans())
def test_lines_that_are_known_by_their_shape_leave_what_each_by_itself_does(
    before: str, lines: list[str], twice: bool
) -> None:
    """Whatever stands between them; what is read twice is known the second time."""
    lines = [*before.split("\n"), *lines, *(lines if twice else [])]
    at_once, one_by_one = ServicesReader(SIGNATURES), ServicesReader(SIGNATURES)
    at_once.feed_text("\n".join(lines) + "\n")
    for line in lines:
        one_by_one.feed(line)
    assert at_once.diagnosis() == one_by_one.diagnosis()
    assert at_once.services() == one_by_one.services()
    known, read = FamiliarReader(SIGNATURES), LogReader(SIGNATURES)
    known.feed_lines("\n".join(lines), known.feed)
    for line in lines:
        read.feed(line)
    assert state_of(known) == state_of(read)


def second(number: int) -> str:
    """Return a time of day that no two lines of a log have."""
    return f"03:{number // 60 % 60:02}:{number % 60:02}"


def nanoseconds(number: int) -> str:
    """Return the part of a second as Docker writes it, without the noughts at its end."""
    return f".{number * 20011 % 1_000_000_000:09}".rstrip("0.") or ".0"


def in_the_journal(line: str, number: int, pid: int) -> str:
    """Return a line as `journalctl -o json` prints it."""
    fields = {
        "__CURSOR": f"s=5b1f;i={number:x};b=7a;m={number * 7:x}",
        "_PID": str(pid),
        "_SYSTEMD_UNIT": f"vllm-{pid % 2}.service",
        "MESSAGE": line,
        "__REALTIME_TIMESTAMP": str(1_763_690_000_000_000 + number),
    }
    return json.dumps(fields)


def in_a_file(line: str, number: int, _: int) -> str:
    """Return a line as Docker's json-file has it, its time without the noughts at the end."""
    time = f"2025-11-21T{second(number)}{nanoseconds(number)}Z"
    return json.dumps({"log": f"{line}\n", "stream": "stderr", "time": time})


BEFORE = (
    "",
    "Nov 21 {time} gpu-1 vllm[470{pid}]: ",
    "2025-11-21T{time}+0000 gpu-1 vllm[{pid}]: ",
    "vllm-{pid}  | ",
    "2025-11-21T{time}{part}Z ",
    "2025-11-21T{time}.123456789Z stderr F ",
    "[pod/vllm-{pid}/vllm] ",
    "vllm-6d8f-x{pid}x vllm-{bit} ",
    "{pid}: ",
    "Nov 21 {time} gpu-1 systemd[1]: vllm.service: ",
)


def before(line: str, number: int, pid: int, carrier: str) -> str:
    """Return a line behind a prefix."""
    prefix = carrier.format(time=second(number), part=nanoseconds(number), pid=pid, bit=number % 2)
    return prefix + line


CARRY: tuple[Callable[[str, int, int], str], ...] = (
    *(partial(before, carrier=carrier) for carrier in BEFORE),
    in_the_journal,
    in_a_file,
)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["", STARTING, SERVING]),
    LINES,
    st.lists(st.sampled_from(CARRY), min_size=1, max_size=2),
    st.sampled_from([(1,), (1,), (1, 2), (7, 8, 9)]),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_what_carries_known_lines_may_name_any_writer_and_time(
    start: str,
    lines: list[str],
    carry: list[Callable[[str, int, int], str]],
    pids: tuple[int, ...],
    stays: bool,
    random: Random,
) -> None:
    """So also behind journald, Docker and Kubernetes, of one service or of several in turn."""
    lines = [*start.split("\n"), *(line for _ in range(3) for line in lines)]
    carried, by, pid = [], carry[0], pids[0]
    for number, line in enumerate(lines):
        if random.random() < 0.1:
            pid = random.choice(pids)
        if random.random() < 0.05 and not stays:
            by = random.choice(carry)
        carried.append(by(line, number, pid))
    at_once, one_by_one = ServicesReader(SIGNATURES), ServicesReader(SIGNATURES)
    cut = random.randrange(len(carried))
    for part in (carried[:cut], carried[cut:]):
        at_once.feed_text("".join(f"{line}\n" for line in part))
    for line in carried:
        one_by_one.feed(line)
    assert at_once.diagnosis() == one_by_one.diagnosis()
    assert at_once.services() == one_by_one.services()
    assert minds_of(at_once) == minds_of(one_by_one)


def minds_of(reader: ServicesReader) -> dict[str, object]:
    """Return all that the readers of a log of several services have in mind."""
    services: dict[str, Any] = getattr(reader, "_services")  # noqa: B009 (it is private)
    whole: LogReader = getattr(reader, "_whole")  # noqa: B009
    return {
        "": state_of(whole),
        **{name: (state_of(s.reader), s.first, s.last, s.ours) for name, s in services.items()},
    }


STORIES = {
    "an engine's own traceback is open": [
        *[f"{ENGINE.format(0, 1, 7)}odd {n}" for n in range(3)],
        f"{ENGINE.format(0, 1, 7)}{HEAD}",
        *[f"{ENGINE.format(0, 1, 7)}odd {n}" for n in range(3)],
        f"{ENGINE.format(0, 1, 7)}torch.OutOfMemoryError: CUDA out of memory.",
    ],
    "a server goes on after a client's record": [
        *[f"{BARE}INFO 11-21 03:10:01 [loggers.py:7] odd {n}" for n in range(3)],
        f"{SERVER.format(2, 1)}Error in preprocessing prompt 'odd",
        f"{BARE}INFO 11-21 03:10:01 [loggers.py:7] odd 7",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
    ],
}


@pytest.mark.parametrize("story", STORIES)
def test_what_is_open_is_open_for_known_lines_too(story: str) -> None:
    lines = [*SERVING.split("\n"), *STORIES[story]]
    known, read = FamiliarReader(SIGNATURES), LogReader(SIGNATURES)
    known.feed_lines("\n".join(lines), known.feed)
    for line in lines:
        read.feed(line)
    assert state_of(known) == state_of(read)


def test_one_number_among_thousands_that_means_something_is_heard() -> None:
    """The lines before have its very shape: "Error 801" means nothing, "Error 802" does."""
    lines = [f"{ENGINE.format(0, 1, 7)}Error {801}: odd"] * 3000
    lines.append(f"{ENGINE.format(0, 1, 7)}Error 802: system not yet initialized")
    lines += [f"{ENGINE.format(0, 1, 7)}worker exited with exit code {n}" for n in range(100, 140)]
    reader = FamiliarReader(SIGNATURES)
    heard: list[str] = []

    def feed(line: str) -> None:
        heard.append(line)
        reader.feed(line)

    reader.feed_lines("\n".join([*STARTING.split("\n"), *lines]), feed)
    assert any("Error 802" in line for line in heard)
    assert any("code 137" in line for line in heard)


def test_warnings_and_tracebacks_of_requests_are_taken_without_a_look_at_each() -> None:
    warned = [f"{ENGINE.format(0, n % 60, n)}some odd thing with seq {n}" for n in range(2000)]
    trace = ["ERROR:    Exception in ASGI application", HEAD, *[FRAME.format(7)] * 40, "odd.E: 7"]
    heard: list[str] = []
    reader = FamiliarReader(SIGNATURES)

    def feed(line: str) -> None:
        heard.append(line)
        reader.feed(line)

    reader.feed_lines("\n".join([*SERVING.split("\n"), *warned, *trace * 50]), feed)
    assert len(heard) < len(SERVING.split("\n")) + 40


@given(st.integers(0, len(SIGNATURES.signatures) - 1), st.integers(0, 999))
def test_a_pattern_of_any_digit_matches_the_shape_of_whatever_the_pattern_matches(
    index: int, number: int
) -> None:
    signature = SIGNATURES.signatures[index]
    general = of_any_digit(signature.pattern.pattern)
    if general is None:
        return
    for example in signature.examples:
        for line in (example, re.sub(r"\d{1,3}", str(number), example)):
            if signature.pattern.search(line) is not None:
                assert re.search(general, shape_of(line)) is not None
                assert not Blanks(SIGNATURES).say_nothing(shape_of(line))


@pytest.mark.parametrize(
    ("pattern", "general"),
    [
        (r"Error 80[234]\b", r"Error \d\d[2340]\b"),
        (r"code \d{2,3}[0-9]", r"code \d{2,3}[0-9]"),
        (r"SM(?!90|(?:1[02]0))x", r"SMx"),
        (r"(?P<n1>\w{1,9}) 4", r"(?P<n1>\w{1,9}) \d"),
        (r"(\d) \1", None),
        (r"a[^5]", None),
    ],
)
def test_each_digit_of_a_pattern_is_made_any_digit(pattern: str, general: str | None) -> None:
    assert of_any_digit(pattern) == general


def test_a_log_of_ever_new_shapes_keeps_no_more_than_so_many() -> None:
    reader = FamiliarReader(SIGNATURES)
    new = [f"{ENGINE.format(0, 1, 7)}{'x' * (n % 400)}-{'y' * (n // 400)}" for n in range(8000)]
    reader.feed_lines(
        "\n".join([*STARTING.split("\n"), *(line for line in new for _ in range(2))]), reader.feed
    )
    kept = vars(reader)["_forms"]
    assert max(len(forms) for forms in kept.values()) <= MAX_FORMS
