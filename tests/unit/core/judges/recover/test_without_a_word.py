# SPDX-License-Identifier: Apache-2.0
"""A run that ends while its log says nothing of it is told in systemd's words, not in a greeting's.

Seen on two hosts with real vLLM 0.32: a follower whose engine was killed was told to have died
"while warming-up: init engine took 0.72 s".
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.core.diagnosis.numbers import Numbers
from agent.core.failures.classes import EnginePhase, FailureClass, Outcome
from agent.core.settings.service import ServicePolicy, Settings
from tests.given.simulated_engine import diagnosis_of
from tests.given.simulated_host import SimulatedHost

LAST = "INFO 11-29 06:30:02 [core.py:281] init engine took 0.72 s"
F = FailureClass


def after_the_end(
    outcome: Outcome, code: int, status: int, result: str, failure: F | None = None
) -> tuple[SimulatedHost, str]:
    """A host that served until its engine ended so, and what was told of it."""
    host = SimulatedHost({"vllm": ServicePolicy(Settings("vllm", "/srv/m"))})
    host.agent_starts()
    assert host.serving_within(200)
    run = host.runs["vllm"].invocation
    host.units["vllm"] = replace(host.units["vllm"], exec_main_code=code)
    host.dies(failure, status=status, result=result)
    said = diagnosis_of(failure, Numbers(), EnginePhase.WARMING_UP)
    host.ended[run] = replace(said, outcome=outcome, evidence=(LAST,))
    host.carry_out()
    return host, next(line.message for line in host.history if line.kind == "failure")


@pytest.mark.parametrize("outcome", [Outcome.READY, Outcome.RUNNING, Outcome.UNKNOWN])
@pytest.mark.parametrize(
    ("code", "status", "result", "ended"),
    [
        (2, 9, "signal", "was ended by SIGKILL (systemd: signal)"),
        (3, 11, "core-dump", "was ended by SIGSEGV (systemd: core-dump)"),
        (2, 99, "signal", "was ended by signal 99 (systemd: signal)"),
        (1, 0, "success", "ended with status 0 (systemd: success)"),
        (1, 137, "exit-code", "ended with status 137 (systemd: exit-code)"),
    ],
)
def test_systemd_says_how_it_ended(
    outcome: Outcome, code: int, status: int, result: str, ended: str
) -> None:
    host, told = after_the_end(outcome, code, status, result)
    said = f"the main process {ended}, and its log has no word of why"
    assert told == f"engine-dead while serving: {said}"
    failure = host.service().failure
    assert failure is not None
    come_to = (f"it had come to: {LAST}",) if outcome is not Outcome.READY else ()
    assert failure.evidence[1:] == come_to
    assert host.serving_within(200)


def test_a_log_that_names_a_cause_is_believed() -> None:
    _, told = after_the_end(Outcome.FAILED, 1, 1, "exit-code", F.NCCL_ERROR)
    assert told == f"nccl-error while serving: {LAST}"
