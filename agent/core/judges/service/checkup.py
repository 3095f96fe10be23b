# SPDX-License-Identifier: Apache-2.0
"""What the nightly check of the host came to: told when it is new, and when it is gone."""

from __future__ import annotations

from agent.core.doctor.finding import Finding, Result
from agent.core.judges.turn import Turn
from agent.core.measures import GIB
from agent.core.state.observations import HostExamined

TROUBLE = (Result.FAIL, Result.WARNING)


def on_examined(turn: Turn, examined: HostExamined) -> None:
    """Tell what is new and what is mended since the last check, and remember what is."""
    for one in examined.pruned:
        what = f"{one.size_bytes / GIB:.1f} GiB of compiled code in {one.directories} directories"
        turn.tell(one.service, "pruned", f"{what}, which its last start did not use, are removed")
    now = {_name(f): f for f in examined.findings if f.result in TROUBLE}
    before = {_name(f): f for f in turn.findings}
    for name, finding in now.items():
        if name not in before or before[name].result is not finding.result:
            _tell(turn, finding)
    known = {_name(f) for f in examined.findings if f.result is not Result.UNKNOWN}
    for name, finding in before.items():
        if name in known and name not in now:
            turn.tell(finding.service, "mended", f"{finding.check} is well again")
    kept = (finding for name, finding in before.items() if name not in known)
    turn.findings = (*now.values(), *kept)


def _name(finding: Finding) -> tuple[str, str]:
    return finding.check, finding.service


def _tell(turn: Turn, finding: Finding) -> None:
    will = "a start will fail" if finding.result is Result.FAIL else "look at it"
    message = f"{finding.check}: {will}: {finding.evidence}. To do: {finding.fix}"
    data = {"check": finding.check, "result": finding.result.value}
    turn.tell(finding.service, "doctor", message, **data)
