# SPDX-License-Identifier: Apache-2.0
"""What a plan of a model known by name costs: a process that begins, plans and ends."""

from __future__ import annotations

import resource
import subprocess
import sys

from agent.core.settings.service import Settings
from agent.core.unit.environment import environment_of
from agent.places import MODELS_DIRECTORY

PROGRAM = """
import sys
from agent.cli.main import main
main(["plan", "Qwen/Qwen3-8B", "--gpu", "L4"])
print(*sorted(sys.modules), file=sys.stderr)
"""

NOT_NEEDED = {
    "agent.core.settings.service",
    "agent.core.unit.environment",
    "agent.host.systemd.bus",
    "agent.config.agent_toml",
    "importlib.resources",
    "zipfile",
    "sqlite3",
    "shlex",
    "difflib",
}


def run() -> set[str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert "does not fit" in done.stdout
    return set(done.stderr.split())


def test_a_plan_by_name_loads_neither_services_nor_dbus() -> None:
    loaded = run()
    assert "agent.core.planner.plan" in loaded
    assert not loaded & NOT_NEEDED


def test_a_plan_by_name_takes_a_bounded_time_of_cpu() -> None:
    """0.11 s on the machine that README names; four times as much is a fault anywhere."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < 4 * 0.12


def test_a_model_is_looked_for_where_a_service_would_keep_it() -> None:
    assert environment_of(Settings("vllm", "model"))["HF_HOME"] == str(MODELS_DIRECTORY)
