# SPDX-License-Identifier: Apache-2.0
"""What the service asks for and its sandbox keeps closed."""

from __future__ import annotations

from agent.core.doctor.finding import Finding, ok, warning
from agent.core.settings.service import Settings


def judge_sandbox(settings: Settings, closed: tuple[str, ...]) -> Finding:
    """Tell whether everything that the settings name is open to vLLM; `closed` is what is not."""
    check, service = "sandbox", settings.name
    if not closed:
        return ok(check, f"{settings.sandbox}: all that the settings name is open", service)
    more = f" (and {len(closed) - 1} more)" if len(closed) > 1 else ""
    fix = "Open it as said; llmagent check names all of them."
    return warning(check, f"{closed[0]}{more}", fix, service)
