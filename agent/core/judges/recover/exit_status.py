# SPDX-License-Identifier: Apache-2.0
"""What systemd itself says of a process that never was vLLM."""

from __future__ import annotations

import signal
from dataclasses import replace

from agent.core.diagnosis.reader import Diagnosis
from agent.core.failures.classes import EnginePhase, Outcome
from agent.core.state.phases import Phase
from agent.core.state.service import Died

SYSTEMD_EXIT_STATUS = {
    200: ("CHDIR", "the working directory of the unit cannot be entered"),
    203: ("EXEC", "`python` cannot be executed: check service.{name}.python"),
    216: ("GROUP", "a group of the unit does not exist: check drop-ins of {name}.service"),
    217: ("USER", "the user of the unit does not exist: check service.{name}.user"),
    218: ("CAPABILITIES", "systemd could not drop capabilities: check drop-ins"),
    226: ("NAMESPACE", "a path of the sandbox is missing: check the model's path and drop-ins"),
    228: ("SECCOMP", "the system call filter was refused: set service.{name}.sandbox"),
    238: ("STATE_DIRECTORY", "/var/lib/vllm cannot be made: is the file system full or read-only?"),
    239: ("CACHE_DIRECTORY", "/var/cache/vllm cannot be made: is the file system full?"),
    243: ("CREDENTIALS", "the token file cannot be read: check service.{name}.hf_token_file"),
}
"""Exit statuses that systemd itself gives before vLLM runs (systemd.exec(5)), and what to do."""

_NO_WORD = frozenset({Outcome.READY, Outcome.RUNNING, Outcome.UNKNOWN})
"""What a log says of a run that ended in the middle of it."""

_ENDED = frozenset({"success", "exit-code", "signal", "core-dump", "oom-kill", "watchdog"})
"""Results of systemd.service(5) that say how the main process ended."""

_EXITED = 1
"""CLD_EXITED of wait(2) in ExecMainCode; what else it can be is a signal's."""


def with_systemds_word(diagnosis: Diagnosis | None, died: Died) -> Diagnosis | None:
    """Return the diagnosis of a death; where its log has no word of it, with systemd's word first.

    A run that served died while it served, whatever it had printed: a rank without requests
    prints nothing after its warm-up.
    """
    if diagnosis is None:
        return None
    if died.phase is Phase.SERVING and diagnosis.phase is not EnginePhase.STOPPING:
        diagnosis = replace(diagnosis, phase=EnginePhase.SERVING)
    if diagnosis.outcome not in _NO_WORD or died.result not in _ENDED:
        return diagnosis
    said = f"{_how(died)}, and its log has no word of why"
    if diagnosis.outcome is Outcome.READY:
        return replace(diagnosis, evidence=(said,))  # that it was ready is no cause
    come_to = (f"it had come to: {line}" for line in diagnosis.evidence)
    return replace(diagnosis, evidence=(said, *come_to))


def _how(died: Died) -> str:
    status = died.exec_main_status
    if died.exec_main_code == _EXITED:
        return f"the main process ended with status {status} (systemd: {died.result})"
    try:
        name = signal.Signals(status).name
    except ValueError:
        name = f"signal {status}"
    return f"the main process was ended by {name} (systemd: {died.result})"
