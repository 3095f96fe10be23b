# SPDX-License-Identifier: Apache-2.0
"""Composes the log of a server that a text of something beside vLLM ended, and judges it.

A row of tests/given/catalogue/beside.tsv is family, stage, form, whether a new start may succeed
(y, n, or ? where the text alone cannot tell), the classes that are right, and the text with ⏎ for
each new line. Forms: `x` is an exception thrown by vLLM's own frames of that stage,
`x:PATH:FUNCTION` one thrown by that frame below them; `raw` is printed by the dying process itself;
`systemd` and `kernel` stand between vLLM's lines in the journal; `alone` is the whole log.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.core.diagnosis.reader import Diagnosis
from agent.core.failures.classes import FailureClass
from tests.catalogue.corpus import CORPUS
from tests.catalogue.eras import Era
from tests.catalogue.judging import harms
from tests.catalogue.logs import PACKAGES, beginning_of, death_at_start, death_at_work, frames_of
from tests.catalogue.stages import Stage

RELEASE = "0.28.0"
"""The release around the texts: its libraries say the same in all."""

_GONE = (
    "Engine core proc EngineCore_DP0 died unexpectedly, shutting down client.",
    "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace "
    "(above) for the root cause.",
)
_NEVER_UP = (
    "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
)


@dataclass(frozen=True, slots=True)
class Beside:
    """A text of a library, the host or a container, labelled by a person."""

    family: str
    stage: Stage
    form: str
    again: bool | None
    """Whether a new start may succeed; None: the text cannot tell."""

    right: frozenset[FailureClass]
    text: str


def beside_of(row: str) -> Beside:
    """Read a row of the table."""
    family, stage, form, again, right, text = row.split("\t")
    passes = {"y": True, "n": False, "?": None}[again]
    classes = frozenset(map(FailureClass, right.split()))
    return Beside(family, Stage(stage), form, passes, classes, text.replace("⏎", "\n"))


def rows(name: str = "beside.tsv") -> list[str]:
    """Return the rows of a table of the corpus, without its heading."""
    lines = (CORPUS / name).read_text(encoding="utf-8").split("\n")
    return [line for line in lines if line and not line.startswith("# ")]


def log_of(text: Beside) -> list[str]:
    """Return the log of the server that it ended."""
    form, _, frame = text.form.partition(":")
    said = text.text.split("\n")
    era = Era(RELEASE)
    if form == "alone":
        return said
    if form == "x":
        return _thrown(text, frame, era)
    before = beginning_of(text.stage, era)
    serves = text.stage is Stage.SERVE
    after = era.record("APIServer", "ERROR", "core_client.py", _GONE[0])
    after += era.record("APIServer", "ERROR", "async_llm.py", _GONE[1])
    if form == "raw":
        return [*before, *said, *(after if serves else era.raw("APIServer", _NEVER_UP))]
    journal = [f"Nov 21 03:05:10 gpu01 {form}[1]: {line}" for line in said]
    if form == "kernel":
        journal = [f"Nov 21 03:05:10 gpu01 kernel: {line}" for line in said]
    elif text.stage is Stage.CONFIG:
        return ["Nov 21 03:05:10 gpu01 systemd[1]: Started vllm.service - vLLM.", *journal]
    else:
        after = []
    return [*_in_journal(before), *journal, *_in_journal(after)]


def _in_journal(lines: list[str]) -> list[str]:
    return [f"Nov 21 03:05:10 gpu01 vllm[4711]: {line}" for line in lines]


def _thrown(text: Beside, frame: str, era: Era) -> list[str]:
    frames = list(frames_of(text.stage))
    if frame:
        path, _, function = frame.partition(":")
        frames.append((path, function))
    lines = ["Traceback (most recent call last):"]
    for number, (path, function) in enumerate(frames):
        lines.append(f'  File "{PACKAGES}{path}", line {100 + 7 * number}, in {function}')
        lines.append("    value = call(value)")
    trace = "\n".join([*lines, text.text])
    before = beginning_of(text.stage, era)
    if text.stage is Stage.CONFIG:
        return [*before, *era.raw("APIServer", trace)]
    if text.stage is Stage.SERVE:
        return [*before, *death_at_work(era, trace)]
    return [*before, *death_at_start(text.text, era, trace)]


def is_right(text: Beside, said: Diagnosis) -> bool:
    """Tell whether the class is one of those that are right."""
    return (said.failure or FailureClass.UNKNOWN) in text.right


def is_dangerous(text: Beside, said: Diagnosis) -> bool:
    """Tell whether the remedy of a wrong class does harm."""
    return not is_right(text, said) and said.failure is not None and harms(said, text.right)


def says_again(text: Beside, said: Diagnosis) -> bool:
    """Tell whether it is not wrong on whether a new start may succeed."""
    return text.again is None or said.transient in (None, text.again)
