# SPDX-License-Identifier: Apache-2.0
"""Commands that another program is handed as text, recipes of make, and text that is only shown."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.foreign.found import Found, NoEngineError
from agent.core.foreign.scripts.supervisor import programs_of_supervisor
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
        "export PYTHONPATH=/opt/plugins:$PYTHONPATH\n/v/bin/vllm serve $MODEL $ARGS\n"
    )
    assert found.table["environment"].keys() == {"NCCL_DEBUG", "PYTHONPATH"}
    assert found.table["environment"]["PYTHONPATH"].startswith("/opt/plugins")


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


@pytest.mark.parametrize(
    ("before", "python"),
    [
        ("source /opt/conda/bin/activate\nconda activate llm", "/opt/conda/envs/llm/bin/python"),
        (
            ". /opt/conda/etc/profile.d/conda.sh && conda activate llm",
            "/opt/conda/envs/llm/bin/python",
        ),
        (
            'eval "$(/opt/mamba/bin/conda shell.bash hook)"\nENV=llm\nmamba activate "$ENV"',
            "/opt/mamba/envs/llm/bin/python",
        ),
        ("export PATH=/opt/conda/bin:$PATH\nconda activate /data/env", "/data/env/bin/python"),
        ("source /opt/conda/bin/activate\nconda activate", "/opt/conda/bin/python"),
    ],
)
def test_the_python_is_the_one_of_the_environment_that_conda_activates(
    before: str, python: str
) -> None:
    assert taken(f"{before}\nvllm serve org/m\n").table["python"] == python


def test_an_environment_whose_place_is_not_known_is_named_and_none_is_made_up() -> None:
    for script, what in (
        ("conda activate llm", "conda activate llm"),
        ("source ${VENV}/bin/activate", "source ${VENV}/bin/activate"),
    ):
        found = taken(f"{script}\nvllm serve org/m\n")
        assert "python" not in found.table
        assert any(left.what == what for left in found.left)


def test_a_comment_between_lines_that_go_on_ends_where_the_shell_ends_it() -> None:
    found = taken(
        "export A=1 \\\n#B=2 \\\n/v/bin/vllm serve org/m --port 8003 \\\n  --seed 7 \\\n"
        "  # --dtype half \\\n  --seed 8\n"
    )
    assert found.table["port"] == 8003
    assert found.table["extra_args"] == ["--seed", "7"]


SUPERVISOR = """\
[supervisord]
logfile=/var/log/s.log
[program:web]
command=/usr/bin/node web.js
[program:llm]
command=bash -c "CUDA_VISIBLE_DEVICES=1 /v/bin/vllm serve ./m --port 8003"  ; the model
directory=/data/llm
user=ann
environment=HF_HOME="/data/hf",VLLM_LOGGING_LEVEL='DEBUG',X=%(here)s
autorestart=true
umask=022
"""


def test_a_program_of_supervisord_is_an_engine() -> None:
    [(own, words)] = programs_of_supervisor(SUPERVISOR, Found("x", (), directory="/etc"))
    found = table_of(engine_of_words(own, words, lambda _file: None))
    assert found.name == "llm"
    assert found.table["model"] == "/data/llm/m"
    assert (found.table["port"], found.table["gpus"]) == (8003, [1])
    assert found.table["user"] == "ann"
    assert found.table["environment"]["HF_HOME"] == "/data/hf"
    assert found.table["environment"]["VLLM_LOGGING_LEVEL"] == "DEBUG"
    assert any(left.what == "umask=022" for left in found.left)


def test_what_is_no_file_of_supervisord_is_said() -> None:
    with pytest.raises(NoEngineError, match="supervisord"):
        list(programs_of_supervisor("server {\n listen 80;\n}\n", Found("x", ())))


def test_replicas_that_all_run_here_are_no_group_of_hosts() -> None:
    here = taken(
        "/v/bin/vllm serve org/m -dp 2 -dpl 2 --data-parallel-address 10.0.0.5 "
        "--data-parallel-rpc-port 13345\n"
    )
    assert "cluster" not in here.table
    there = taken("/v/bin/vllm serve org/m -dp 4 -dpl 2 --data-parallel-address 10.0.0.5\n")
    assert there.table["cluster"]["data_parallel_address"] == "10.0.0.5"


def test_a_default_that_is_a_variable_itself_is_put_in() -> None:
    found = taken(
        'M=org/m\nP="${PORT:-${OTHER:-8003}}"\nstart() {\n  local model="${1:-$M}"\n'
        '  /v/bin/vllm serve "$model" --port $P\n}\nstart "$2"\n'
    )
    assert (found.table["model"], found.table["port"]) == ("org/m", 8003)


def test_what_a_branch_sets_is_taken_and_named() -> None:
    found = taken(
        'if [ "$1" == long ]; then\n  EXTRA="--max-model-len 64k"\nelse\n'
        '  EXTRA="--max-model-len 32k"\nfi\nPORT=8003\n'
        "/v/bin/vllm serve org/m $EXTRA --port $PORT\n"
    )
    assert found.table["max_model_len"] == 32000
    named = [left.what for left in found.left if "branch" in left.why]
    assert named == ["$EXTRA"]


LETTERS = st.sampled_from("\n\t \"'\\#;$(){}[]=:%-vllm serve org/m[program:x]command")
TEXTS = st.lists(LETTERS | st.sampled_from(["vllm serve ", "\n[program:x]\n", "command=", "if "]))
JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
)


@given(TEXTS.map("".join))
def test_any_text_is_read_or_refused_with_one_sentence(text: str) -> None:
    for name in ("Makefile", "run.sh"):
        with contextlib.suppress(NoEngineError):
            taken(text, name)
    with contextlib.suppress(NoEngineError):
        for own, words in programs_of_supervisor(text, Found("x", (), directory="/etc")):
            with contextlib.suppress(NoEngineError):
                table_of(engine_of_words(own, words, lambda _file: None))


@given(st.fixed_dictionaries({}, optional={"run": JSON, "commands": JSON, "env": JSON}))
def test_any_yaml_is_a_task_or_none(content: dict[str, object]) -> None:
    script_of_task(content)
