# SPDX-License-Identifier: Apache-2.0
"""Commands that another program is handed as text, recipes of make, and text that is only shown."""

from __future__ import annotations

import pytest

from agent.core.foreign.found import Found, NoEngineError
from agent.core.foreign.scripts.task import script_of_task
from agent.core.foreign.table import Imported, table_of
from agent.core.foreign.unit import engine_of_words

LINE = "/v/bin/vllm serve org/m --port 8003"


def taken(script: str, name: str = "run.sh") -> Imported:
    base = Found("run", (), directory="/srv", home="/home/me")
    return table_of(engine_of_words(base, (f"/srv/{name}",), {f"/srv/{name}": script}.get))


@pytest.mark.parametrize(
    "script",
    [
        f'pm2 start --name llm "{LINE}"',
        "pm2 start /v/bin/vllm --name llm -- serve org/m --port 8003",
        f"tmux new-session -d -s llm '{LINE} 2>&1 | tee log'",
        f'CMD="{LINE}"\ntmux send-keys -t llm "$CMD" C-m',
        f"screen -dmS llm bash -c '{LINE}'",
        f'su - llm -c "{LINE}"',
        f'CMD="{LINE}"\necho "starting: $CMD"\neval $CMD',
        f'CMD="{LINE}"\neval "$CMD"',
        f"sbatch --gres=gpu:1 --wrap='{LINE}'",
        f"ssh gpu1 'cd /data && {LINE}'",
        f'srun --comment "my vllm job" {LINE}',
        f'echo "vllm serve org/other --port 1"\npkill -f "vllm serve"\n{LINE}',
    ],
)
def test_the_line_that_starts_vllm_is_found(script: str) -> None:
    found = taken(script)
    assert found.table["model"] == "org/m"
    assert found.table["port"] == 8003
    assert found.table["python"] == "/v/bin/python"
    assert not any("first of" in left.why for left in found.left)


@pytest.mark.parametrize(
    "script", ['echo "run: vllm serve org/m"', "pgrep -f 'vllm serve org/m'", "pip install vllm"]
)
def test_what_only_speaks_of_vllm_starts_none(script: str) -> None:
    with pytest.raises(NoEngineError):
        taken(script)


def test_a_recipe_of_make_is_read_with_makes_variables() -> None:
    found = taken(
        "PORT ?= 8003\nexport HF_HOME := /data/hf\n\nserve: venv ## starts it\n"
        "\t@echo serving on $(PORT)\n"
        "\tVLLM_LOGGING_LEVEL=DEBUG /v/bin/vllm serve org/m \\\n\t\t--port $(PORT) \\\n"
        '\t\t--served-model-name "$${NAME:-own}"\n',
        "Makefile",
    )
    assert found.table["port"] == 8003
    assert found.table["served_model_name"] == "own"
    assert found.table["environment"] == {"HF_HOME": "/data/hf", "VLLM_LOGGING_LEVEL": "DEBUG"}


def test_what_a_script_exports_for_its_own_line_is_no_variable_of_the_engine() -> None:
    found = taken(
        'export MODEL=org/m\nexport ARGS="--port 8003"\nexport NCCL_DEBUG=WARN\n'
        "/v/bin/vllm serve $MODEL $ARGS\n"
    )
    assert found.table["environment"] == {"NCCL_DEBUG": "WARN"}


@pytest.mark.parametrize(
    "task",
    [
        {"run": f"echo hello\n{LINE} | tee log", "envs": {"HF_HOME": "/data/hf"}},
        {"type": "service", "commands": ["cd /x", LINE], "env": ["HF_HOME=/data/hf", "HF_TOKEN"]},
    ],
)
def test_a_task_of_skypilot_or_dstack_is_a_script(task: dict[str, object]) -> None:
    found = script_of_task(task)
    assert found is not None
    assert LINE in found[0]
    assert found[1] == {"HF_HOME": "/data/hf"}


def test_a_yaml_file_without_a_script_is_no_task() -> None:
    assert script_of_task({"run": {"image": "x"}, "commands": [], "env": "A=1"}) is None


def test_a_value_that_hangs_on_an_argument_of_the_script_is_named() -> None:
    found = taken("MODEL=$1\nOTHER=$2\n/v/bin/vllm serve ${MODEL} --port 8003\n")
    assert [left.what for left in found.left if left.what.startswith("$")] == ["$1"]


def test_who_ran_the_demo_server_is_told_that_its_paths_are_gone() -> None:
    found = taken("/v/bin/python -m vllm.entrypoints.api_server --model org/m --port 8003\n")
    assert found.table["model"] == "org/m"
    (told,) = (left.why for left in found.left if left.what == "vllm.entrypoints.api_server")
    assert "/generate" in told
