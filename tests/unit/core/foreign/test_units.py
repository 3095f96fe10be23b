# SPDX-License-Identifier: Apache-2.0
"""A unit, a script or a process that starts vLLM becomes a table; what has no place is named."""

import pytest

from agent.core.foreign.found import Found, NoEngineError
from agent.core.foreign.process import engine_of_process
from agent.core.foreign.table import Imported, table_of
from agent.core.foreign.unit import engine_of_unit, engine_of_words

UNIT = """
[Unit]
Description=the chat
After=network-online.target data.mount
[Service]
User=llm
WorkingDirectory=/srv/llm
EnvironmentFile=/etc/default/chat
Environment=HF_TOKEN=hf_abcdefghijk CUDA_VISIBLE_DEVICES=0,1 VLLM_LOGGING_LEVEL=INFO
ExecStartPre=/usr/bin/nvidia-smi -pm 1
ExecStart=/opt/vllm/bin/vllm serve ${MODEL} -tp 2 --port $PORT --api-key sk-1234567890 \\
    --tool-call-parser hermes --max-model-len 32k --chat-template ./t.jinja \\
    --speculative-config.method ngram --speculative-config.num_speculative_tokens 3
Restart=always
LimitNOFILE=65536
CPUAffinity=0-15
"""
VARIABLES = {"/etc/default/chat": "# of ours\nMODEL=org/m\nexport PORT='8001'\n"}


def no_file(_file: str) -> None:
    """Return nothing: no file is there to be read."""


def unit(text: str, files: dict[str, str] | None = None, name: str = "chat.service") -> Imported:
    return table_of(engine_of_unit(name, text, (files or {}).get))


def line(*words: str, files: dict[str, str] | None = None) -> Imported:
    base = Found("run", (), directory="/srv", home="/home/me")
    return table_of(engine_of_words(base, words, (files or {}).get))


def why(taken: Imported, what: str) -> str:
    return next(left.why for left in taken.left if left.what.startswith(what))


def test_a_unit_becomes_a_table_with_its_files_of_variables() -> None:
    taken = unit(UNIT, VARIABLES)
    assert taken.name == "chat"
    assert taken.table == {
        "model": "org/m",
        "host": "0.0.0.0",
        "port": 8001,
        "chat_template": "/srv/llm/t.jinja",
        "max_model_len": 32000,
        "tensor_parallel_size": 2,
        "api_key_file": "/etc/llmagent/chat_api_key",
        "hf_token_file": "/etc/llmagent/hf_token",
        "gpus": [0, 1],
        "python": "/opt/vllm/bin/python",
        "user": "llm",
        "extra_args": [
            *("--tool-call-parser", "hermes", "--speculative-config.method", "ngram"),
            *("--speculative-config.num_speculative_tokens", "3"),
        ],
        "environment": {"VLLM_LOGGING_LEVEL": "INFO"},
    }


def test_what_a_unit_does_besides_is_named_line_by_line() -> None:
    taken = unit(UNIT, VARIABLES)
    assert "drop-in" in why(taken, "CPUAffinity=0-15")
    assert "drop-in" in why(taken, "ExecStartPre=/usr/bin/nvidia-smi -pm 1")
    assert "[Unit]" in why(taken, "After=data.mount")
    assert "has its own" in why(taken, "Restart=, LimitNOFILE=")


def test_a_secret_goes_to_a_file_and_is_not_shown() -> None:
    taken = unit(UNIT, VARIABLES)
    assert taken.secrets == {
        "/etc/llmagent/chat_api_key": ("sk-1234567890",),
        "/etc/llmagent/hf_token": ("hf_abcdefghijk",),
    }
    assert "sk-1234567890" not in repr(taken)
    assert "hf_abcdefghijk" not in repr(taken)


def test_a_file_of_variables_that_is_closed_is_named() -> None:
    taken = unit(UNIT)
    assert "cannot be read" in why(taken, "EnvironmentFile=/etc/default/chat")
    assert "nothing sets it" in why(taken, "$MODEL")


def test_an_instance_of_a_template_knows_its_name() -> None:
    text = "[Service]\nExecStart=/v/bin/vllm serve org/%i --served-model-name %i --seed 1\n"
    taken = unit(text, name="vllm@qwen.service")
    assert taken.table["model"] == "org/qwen"
    assert taken.table["served_model_name"] == "qwen"
    assert taken.name == "vllm-qwen"


def test_a_unit_that_runs_as_root_is_told_that_ours_does_not() -> None:
    taken = unit("[Service]\nExecStart=/v/bin/python -m vllm.entrypoints.openai.api_server\n")
    assert "as the user vllm" in why(taken, "User=root")
    assert "user" not in taken.table
    assert taken.table["python"] == "/v/bin/python"


def test_a_unit_without_vllm_is_refused() -> None:
    with pytest.raises(NoEngineError, match="vllm serve"):
        unit("[Service]\nExecStart=/usr/sbin/nginx -g 'daemon off;'\n")


SCRIPT = """#!/bin/bash
set -euo pipefail
source "/opt/v/bin/activate"
export VLLM_USE_V1=1 # as ever
MODEL="/models/x"
PORT=${PORT:-9000}
ARGS="--max-model-len 8192 --max-num-seqs 4"
CARDS=$(nvidia-smi -L | wc -l)
if [ -z "$MODEL" ]; then exit 1; fi
exec vllm serve "$MODEL" \\
  $ARGS --port "$PORT" \\
  --served-model-name "the $MODEL" "$@"
"""


def test_a_script_is_followed_as_far_as_it_can_be() -> None:
    taken = line("/bin/bash", "/opt/run.sh", files={"/opt/run.sh": SCRIPT})
    assert taken.table == {
        "model": "/models/x",
        "host": "0.0.0.0",
        "port": 9000,
        "served_model_name": "the /models/x",
        "max_model_len": 8192,
        "max_num_seqs": 4,
        "python": "/opt/v/bin/python",
        "environment": {"VLLM_USE_V1": "1"},
    }
    assert "write the value itself" in why(taken, "CARDS=$(")


def test_a_virtual_environment_that_a_shell_enters_is_known() -> None:
    taken = line("bash", "-lc", "source /opt/e/bin/activate && exec vllm serve org/m")
    assert taken.table["python"] == "/opt/e/bin/python"


def test_a_switch_that_is_off_and_a_length_that_vllm_finds_are_kept_apart() -> None:
    taken = line(
        "/v/bin/vllm", "serve", "org/m", "--no-enable-prefix-caching", "--max-model-len=-1"
    )
    assert taken.table["enable_prefix_caching"] is False
    assert "max_model_len" not in taken.table
    assert "left to vLLM" in why(taken, "--max-model-len=-1")


def test_what_would_take_the_service_out_of_our_hands_is_named() -> None:
    taken = line(
        "/v/bin/vllm", "serve", "org/m", "--root-path", "/llm", "--served-model-name", "a", "b"
    )
    assert "proxy" in why(taken, "--root-path /llm")
    assert taken.table["served_model_name"] == "a"
    assert "one name" in why(taken, "--served-model-name b")


def test_the_file_of_options_becomes_keys() -> None:
    found = engine_of_words(Found("x", ()), ("/v/bin/vllm", "serve", "--config", "v.yaml"), no_file)
    content = {"model": "org/m", "port": 8123, "max-num-seqs": 7, "seed": 3, "api-key": "sesam-1"}
    taken = table_of(found, content)
    assert taken.table["port"] == 8123
    assert taken.table["max_num_seqs"] == 7
    assert taken.table["extra_args"] == ["--seed=3"]
    assert taken.secrets == {"/etc/llmagent/x_api_key": ("sesam-1",)}
    unread = table_of(found)
    assert unread.table["extra_args"] == ["--config", "v.yaml"]
    assert "cannot be read" in why(unread, "--config v.yaml")


def test_a_process_brings_its_engines_variables_and_not_its_shells() -> None:
    words = ("/opt/v/bin/python3", "/opt/v/bin/vllm", "serve", "./m", "--port", "8002")
    variables = {"HOME": "/home/bob", "LANG": "C", "VLLM_USE_V1": "1", "CUDA_VISIBLE_DEVICES": "3"}
    taken = table_of(engine_of_process(words, variables, "bob", "/data"))
    assert taken.table == {
        "model": "/data/m",
        "host": "0.0.0.0",
        "port": 8002,
        "gpus": [3],
        "python": "/opt/v/bin/python",
        "user": "bob",
        "environment": {"VLLM_USE_V1": "1"},
    }


def test_an_interpreter_is_known_by_the_program_or_by_the_first_word() -> None:
    server = ("-m", "vllm.entrypoints.openai.api_server", "--model", "org/m")
    for words, python in (
        (("/opt/v/bin/python3", *server), "/opt/v/bin/python3"),
        # a wrapper in the environment that another Python runs
        (("/usr/bin/python3", "-B", "/opt/v/bin/python", *server), "/opt/v/bin/python"),
        (("/opt/v/bin/python3.12", "vllm", "serve", "org/m"), "/opt/v/bin/python3.12"),
    ):
        taken = table_of(engine_of_process(words, {}, "bob", "/"))
        assert taken.table["python"] == python


@pytest.mark.parametrize(
    ("words", "before", "user"),
    [
        (
            "sudo -u me env A=1 numactl --cpunodebind=0 -m 0 /v/bin/vllm serve org/m",
            "numactl",
            "me",
        ),
        (
            "taskset -c 0-15 nice -n -5 /v/bin/python -m vllm.entrypoints.openai.api_server",
            "taskset",
            "",
        ),
        ("/usr/bin/env B=2 nohup /v/bin/vllm serve org/m", "", ""),
        ("/v/bin/vllm serve org/m", "", ""),
    ],
)
def test_what_stands_before_vllm_is_named_and_not_forgotten(
    words: str, before: str, user: str
) -> None:
    found = line(*words.split())
    named = [left.what for left in found.left if "stands before" in left.why]
    assert [name.split()[0] for name in named] == ([before] if before else [])
    assert found.table.get("user", "") == user


def test_a_program_that_is_a_script_of_pythons_is_not_read_as_one_of_the_shells() -> None:
    program = "#!/opt/v/bin/python\nfrom vllm.entrypoints.cli.main import main\nmain()\n"
    found = line("/opt/v/bin/vllm", "serve", "org/m", files={"/opt/v/bin/vllm": program})
    assert found.table["python"] == "/opt/v/bin/python"
    with pytest.raises(NoEngineError, match="no `vllm serve MODEL`"):
        line("/opt/x/start", files={"/opt/x/start": program})
    shell = "#!/usr/bin/env bash\nexec /opt/v/bin/vllm serve org/m\n"
    assert line("/opt/x/start", files={"/opt/x/start": shell}).table["model"] == "org/m"


LAUNCHED = "[Service]\nUser=me\nWorkingDirectory=/srv/app\n{variable}ExecStart={line} --port 1\n"


@pytest.mark.parametrize(
    ("line", "python"),
    [
        ("/usr/bin/uv run vllm serve org/m", "/srv/app/.venv/bin/python"),
        ("uv run -p 3.12 --no-sync vllm serve org/m", "/srv/app/.venv/bin/python"),
        ("uv run --project=/opt/p vllm serve org/m", "/opt/p/.venv/bin/python"),
        ("uv --directory sub run vllm serve org/m", "/srv/app/sub/.venv/bin/python"),
        ("uv run /opt/v/bin/vllm serve org/m", "/opt/v/bin/python"),
        (
            "/opt/conda/bin/conda run --no-capture-output -n vllm vllm serve org/m",
            "/opt/conda/envs/vllm/bin/python",
        ),
        ("/opt/mf/condabin/mamba run vllm serve org/m", "/opt/mf/bin/python"),
        (
            "conda run -p /data/e python -m vllm.entrypoints.openai.api_server --model org/m",
            "/data/e/bin/python",
        ),
        ("/u/.pixi/bin/pixi run -e cuda vllm serve org/m", "/srv/app/.pixi/envs/cuda/bin/python"),
        (
            "/u/.local/share/pipx/venvs/vllm/bin/python /u/.local/bin/vllm serve org/m",
            "/u/.local/share/pipx/venvs/vllm/bin/python",
        ),
        ("/opt/v/bin/python3 /opt/v/bin/vllm serve org/m", "/opt/v/bin/python"),
    ],
)
def test_the_python_is_that_of_the_environment_which_a_launcher_chooses(
    line: str, python: str
) -> None:
    taken = unit(LAUNCHED.format(line=line, variable=""))
    assert (taken.table["model"], taken.table["python"]) == ("org/m", python)
    assert not any("stands before vLLM" in left.why for left in taken.left)
    assert "environment" not in taken.table


def test_a_project_of_uv_may_have_its_environment_elsewhere() -> None:
    variable = "Environment=UV_PROJECT_ENVIRONMENT=/var/e\n"
    taken = unit(LAUNCHED.format(line="uv run vllm serve org/m", variable=variable))
    assert taken.table["python"] == "/var/e/bin/python"


@pytest.mark.parametrize(
    ("line", "what", "told"),
    [
        ("/usr/bin/poetry run vllm serve org/m", "poetry run", "/usr/bin/poetry run which python"),
        ("conda run -n llm vllm serve org/m", "conda run", "`conda run -n llm which python`"),
        ("/u/uvx vllm@0.19.1 serve org/m", "uvx", "bin/python vllm==0.19.1)"),
        ("uvx --from vllm==0.19.1 vllm serve org/m", "uvx", "bin/python vllm==0.19.1)"),
        ("uv tool run vllm serve org/m", "uv tool", "uv venv /opt/vllm"),
        ("uv run --with vllm==0.19.1 vllm serve org/m", "uv run", "vllm==0.19.1)"),
        ("pipx run vllm serve org/m", "pipx run", "uv venv /opt/vllm"),
    ],
)
def test_a_launcher_whose_environment_is_not_known_is_named_with_what_to_do(
    line: str, what: str, told: str
) -> None:
    taken = unit(LAUNCHED.format(line=line, variable=""))
    assert told in why(taken, what)
    assert "python" not in taken.table
    assert "environment" not in taken.table


def test_a_script_that_cannot_be_read_is_named() -> None:
    with pytest.raises(NoEngineError, match="/usr/local/bin/run is no shell script that can be"):
        unit("[Service]\nExecStart=/usr/local/bin/run --fast\n")


def test_what_belongs_under_unit_is_sent_there() -> None:
    condition = "ConditionPathExists=/dev/nvidia0"
    taken = unit(f"[Unit]\n{condition}\n[Service]\nExecStart=/v/bin/vllm serve org/m\n")
    assert "[Unit]" in why(taken, condition)


def test_a_limit_that_stands_before_vllm_is_named_and_is_no_variable() -> None:
    taken = line(
        *["systemd-run", "--scope", "-p", "MemoryMax=90%", "/v/bin/vllm", "serve", "org/m"]
    )
    assert "drop-in" in why(taken, "systemd-run --scope -p MemoryMax=90%")
    assert "environment" not in taken.table


def test_a_template_is_refused_and_an_instance_of_it_is_read() -> None:
    text = "[Service]\nExecStart=/opt/v/bin/vllm serve org/m --port 800%i\n"
    with pytest.raises(NoEngineError, match="name an instance, as chat@NAME"):
        unit(text, name="chat@.service")
    assert unit(text, name="chat@3.service").table["port"] == 8003
