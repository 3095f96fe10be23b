# SPDX-License-Identifier: Apache-2.0
"""Python's bytecode of the engine: without it every start compiles every module anew.

The service may not write into its environment (another user, read-only), so what is missing stays
missing. Measured with vLLM 0.32 on 2 cores, all of it away: 19 to 23 s of each start, in three
processes one after the other; with `python -O`, for which pip compiles nothing, 20 s.
"""

from __future__ import annotations

from dataclasses import field

from agent.core.doctor.finding import Finding, ok, unknown, warning
from agent.core.record import dataclass

PAYS = "measured with vLLM 0.32 on 2 cores and all of it missing: 19 to 23 s of every start"
CHECK = "bytecode"

OFF_TRACK = {
    "PYTHONOPTIMIZE": "pip compiles nothing for it",
    "PYTHONPYCACHEPREFIX": "Python looks for it there alone, and not beside the modules",
    "PYTHONDONTWRITEBYTECODE": "what is missing stays missing",
}
"""Variables by which Python does without the bytecode that lies beside its modules, and why."""


@dataclass(frozen=True, slots=True)
class Bytecode:
    """What was counted in the engine's directories of packages.

    `lacking`: packages of which most modules have no valid bytecode, with how many. `owner`: who
    may write it. `whole`: all was looked at in time.
    """

    modules: int = 0
    without: int = 0
    lacking: tuple[tuple[str, int], ...] = ()
    directories: tuple[str, ...] = ()
    """Where those packages are: each by itself while they are few."""

    owner: str = "root"
    whole: bool = True
    variables: tuple[str, ...] = field(default=())
    """Names of OFF_TRACK that are in the service's environment and in force."""


def judge_bytecode(service: str, python: str, found: Bytecode) -> Finding:
    """Tell whether a start finds the bytecode of its modules."""
    if not found.modules:
        return unknown(CHECK, "no module was found", service=service)
    if not found.lacking and not found.variables:
        part = "" if found.whole else f" of the first {found.modules} that were looked at"
        return ok(CHECK, f"{found.modules - found.without} modules have theirs{part}", service)
    said, cures = [f"{name} is set: {OFF_TRACK[name]}" for name in found.variables], []
    if found.variables:
        names = " and ".join(found.variables)
        cures.append(f"Take {names} out of `environment` and of drop-ins.")
    if found.lacking:
        most = ", ".join(f"{name} ({count})" for name, count in found.lacking[:3])
        said.append(
            f"{found.without} of {found.modules} modules have none that is valid, most of {most}"
        )
        cures.append(_command(python, found))
    return warning(CHECK, f"{'; '.join(said)} ({PAYS})", " ".join(cures), service)


def _command(python: str, found: Bytecode) -> str:
    """Return the command, run as the owner of the directories: the modules stay as they are.

    With -f: otherwise compileall passes over modules whose size alone is another (3.8..3.13).
    """
    before = "" if found.owner == "root" else f"sudo -u {found.owner} "
    return f"{before}{python} -m compileall -q -f -j 0 {' '.join(found.directories)}"
