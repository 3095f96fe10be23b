# SPDX-License-Identifier: Apache-2.0
"""A log that ends within a traceback: the exception, which comes last, was not kept.

The line of code that the innermost frame quotes may say what it would have been: what an `assert`
asks for, or the class that a `raise` names. Only of a log that is over is a traceback cut off; of
one that is being written the rest is yet to come.
"""

from __future__ import annotations

import re
from dataclasses import replace

from agent.core.diagnosis.concluding.conclusion import Conclusion
from agent.core.diagnosis.concluding.sentences import STALLED
from agent.core.diagnosis.failure_lines import shorten
from agent.core.diagnosis.run import Run
from agent.core.failures.classes import FailureClass, Outcome

CUT_OFF = (
    "The log ends within a traceback: the exception, which names the cause, is not in this part "
    "of it. Read the lines behind it."
)
STALLED_MINUTES = 2
"""So many minutes of waiting are told where they are the last thing that a server's log shows: one
may be a first compilation."""

_RAISED = re.compile(r"raise (?!KeyboardInterrupt|SystemExit)([A-Za-z_][\w.]{0,120})\(")
_SAYS_NOTHING = frozenset({"Exception", "RuntimeError", "ValueError"})
"""Thrown for any reason: without its words such a one is no fault of vLLM's own."""
_ASSERTED = re.compile(r"assert[ (]\S")
_NO_CAUSE = frozenset({FailureClass.UNKNOWN, FailureClass.ENGINE_DEAD, FailureClass.WORKER_DIED})


def of_a_log_that_is_over(run: Run, verdict: Conclusion) -> Conclusion:
    """Return the verdict with what the end of the log tells: of a traceback, or of a silence."""
    if verdict.outcome is Outcome.READY and run.served.blocked >= STALLED_MINUTES:
        silent, hung = (run.served.idle_line,), FailureClass.ENGINE_HUNG
        return Conclusion(Outcome.DEGRADED, hung, silent, advice=STALLED)
    open_end = verdict.outcome in (Outcome.RUNNING, Outcome.UNKNOWN)
    gone = verdict.outcome is Outcome.FAILED and verdict.failure in _NO_CAUSE
    if run.ready or not (open_end or gone) or (trace := run.tracebacks.cut_off) is None:
        return verdict
    code = trace.raised or trace.code
    raised = _RAISED.match(code)
    name = "AssertionError" if _ASSERTED.match(code) else raised and raised.group(1)
    placed = None
    if name:
        placed = run.places.place(f"{name}: {code}", tuple(trace.path), trace.phase)
    failure = placed.failure if placed is not None else None
    if name in _SAYS_NOTHING and failure is FailureClass.ENGINE_BUG:
        failure = None
    if gone and failure is None:
        return verdict
    last = code or trace.path[-1].replace(":", ", in ")
    told = CUT_OFF if placed is None else f"{placed.sentence}. {CUT_OFF}"
    return replace(
        verdict,
        outcome=Outcome.FAILED,
        failure=failure or FailureClass.UNKNOWN,
        evidence=(shorten(last), *verdict.evidence),
        finding=None,
        advice=told,
        guessed=True,
    )
