# SPDX-License-Identifier: Apache-2.0
"""The Ansible role: what its linter says, its manual, and the TOML that it writes of variables."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any, Final

from tests.rig.paths import REPO

ANSIBLE: Final = REPO / "packaging/ansible"
ROLE: Final = ANSIBLE / "roles/llmagent"

LINT: Final = ("ansible-lint", "--offline", "--nocolor", "--profile=production")

NASTY: Final[dict[str, Any]] = {
    "service": {
        "vllm": {
            "model": 'a "quoted" \\ name',
            "served_model_name": "Grüße 😀 \u007f\t\u2028",
            "port": 8000,
            "gpu_memory_utilization": 0.925,
            "enforce_eager": True,
            "prefetch": False,
            "gpus": [0, 1],
            "extra_args": ["--a", '{"b": [1, {"c": null}]}', ""],
            "environment": {"A.B": "x = [y]", "": "empty", "C#": "# no comment"},
            "recovery": {"poll_seconds": 1e-05, "backoff_max_seconds": 1e22},
            "lora": [{"name": "x", "path": "/srv/x y"}],
        },
        "with.dot and 'quotes'": {"model": "m"},
    },
    "metrics": {},
    "empty": [],
}


def environment(here: Path) -> dict[str, str]:
    """Returns variables under which Ansible writes below a directory alone."""
    return {**os.environ, "ANSIBLE_HOME": str(here), "ANSIBLE_LOCAL_TEMP": str(here / "local")}


def test_the_linter_finds_nothing_by_its_strictest_rules(tmp_path: Path) -> None:
    done = subprocess.run(
        [*LINT, "rollout.yml", "roles/llmagent"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ANSIBLE,
        env=environment(tmp_path),
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_variables_become_the_same_tables_in_agent_toml(tmp_path: Path) -> None:
    variables = tmp_path / "variables.json"
    variables.write_text(json.dumps({"llmagent_config": NASTY}))
    written = tmp_path / "agent.toml"
    subprocess.run(
        [
            *("ansible", "localhost", "--connection=local", "--extra-vars", f"@{variables}"),
            *("--module-name=ansible.builtin.template", "--args"),
            f"src={ROLE}/templates/agent.toml.j2 dest={written}",
        ],
        check=True,
        capture_output=True,
        env=environment(tmp_path),
    )
    assert tomllib.loads(written.read_text()) == NASTY


def test_each_variable_is_described_and_has_a_default() -> None:
    defaults = re.findall(r"(?m)^(llmagent_\w+):", (ROLE / "defaults/main.yml").read_text())
    described = re.findall(
        r"(?m)^      (llmagent_\w+):", (ROLE / "meta/argument_specs.yml").read_text()
    )
    manual = re.findall(r"(?m)^\| `(llmagent_\w+)` \|", (ROLE / "README.md").read_text())
    assert sorted(defaults) == sorted(described) == sorted(manual)
