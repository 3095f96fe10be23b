# SPDX-License-Identifier: Apache-2.0
"""A shell script is followed without being run; what cannot be followed is named."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.foreign.found import Found, NoEngineError
from agent.core.foreign.table import Imported, table_of
from agent.core.foreign.unit import engine_of_unit, engine_of_words

FILE = "/srv/llm/run.sh"


def taken(script: str, **files: str) -> Imported:
    there = {FILE: f"#!/bin/bash\n{script}", **{f"/srv/llm/{k}.sh": v for k, v in files.items()}}
    base = Found("run", (), directory="/", home="/home/me")
    return table_of(engine_of_words(base, (FILE,), there.get))


def no_file(_file: str) -> None:
    """Return nothing: no file is there to be read."""


def why(found: Imported, what: str) -> str:
    return next(left.why for left in found.left if left.what.startswith(what))


def test_arguments_that_are_gathered_in_an_array_are_read() -> None:
    found = taken(
        'ARGS=(\n  --max-model-len 8192   # tokens\n  --served-model-name "our model"\n)\n'
        'if [ -n "$LORA" ]; then\n  ARGS+=(--enable-lora)\nfi\n'
        'exec /opt/v/bin/vllm serve org/m "${ARGS[@]}" --port 8001 2>&1 | tee -a /var/log/x\n'
    )
    assert found.table["max_model_len"] == 8192
    assert found.table["served_model_name"] == "our model"
    assert found.table["port"] == 8001
    assert found.table["python"] == "/opt/v/bin/python"


def test_a_file_beside_the_script_is_read_where_it_is_sourced() -> None:
    found = taken(
        'HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"\n. "$HERE/common.sh"\n'
        '~/v/bin/vllm serve "$MODEL" --port "${PORT:-9001}"\n',
        common="MODEL=org/m\nexport VLLM_LOGGING_LEVEL=DEBUG\n",
    )
    assert found.table["model"] == "org/m"
    assert found.table["port"] == 9001
    assert found.table["environment"] == {"VLLM_LOGGING_LEVEL": "DEBUG"}
    assert found.table["python"] == "/home/me/v/bin/python"


def test_a_file_that_cannot_be_read_and_arguments_of_the_script_are_named() -> None:
    found = taken(
        'source /etc/none.sh\nPY="${2:-/v/bin/python}"\n'
        '"$PY" -m vllm.entrypoints.openai.api_server --model "$1"\n'
    )
    assert "cannot be read" in why(found, "source /etc/none.sh")
    assert "write its value" in why(found, "$1")
    assert found.table["python"] == "/v/bin/python"


def test_where_a_script_goes_its_paths_go_too() -> None:
    found = taken(
        "cd /data/work\nHF_HUB_OFFLINE=1 nohup .venv/bin/vllm serve ./m -tp 2 > log 2>&1 &\n"
    )
    assert found.table["model"] == "/data/work/m"
    assert found.table["python"] == "/data/work/.venv/bin/python"
    assert found.table["environment"] == {"HF_HUB_OFFLINE": "1"}
    assert found.table["tensor_parallel_size"] == 2


def test_of_two_starts_the_first_is_taken_and_that_is_told() -> None:
    found = taken(
        'if [ "$1" = big ]; then /v/bin/vllm serve org/big; else /v/bin/vllm serve org/small; fi\n'
    )
    assert found.table["model"] == "org/big"
    assert "first of 2" in why(found, "lines of the script")


def test_a_line_in_a_shell_is_read_like_a_script() -> None:
    text = (
        "[Service]\nWorkingDirectory=/srv/app\nUser=me\n"
        "ExecStart=/bin/bash -lc 'cd llm && source .venv/bin/activate && exec vllm serve org/m'\n"
    )
    found = table_of(engine_of_unit("x.service", text, no_file))
    assert found.table["python"] == "/srv/app/llm/.venv/bin/python"
    assert found.table["model"] == "org/m"


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("/usr/bin/docker compose -f /srv/c.yml up", "llmagent import /srv/c.yml"),
        ("/usr/bin/docker-compose up", "llmagent import /srv/app/compose.yml"),
        ("/usr/bin/podman start -a llm", "llmagent import llm"),
    ],
)
def test_a_unit_that_starts_what_is_described_elsewhere_names_that(line: str, instead: str) -> None:
    text = f"[Service]\nWorkingDirectory=/srv/app\nExecStart={line}\n"
    with pytest.raises(NoEngineError, match=instead):
        engine_of_unit("x.service", text, no_file)


def test_an_image_of_ones_own_is_known_by_its_arguments() -> None:
    words = ("docker", "run", "--gpus=all", "registry.example/llm:3", "--model", "org/m")
    found = table_of(engine_of_words(Found("x", ()), words, no_file))
    assert found.table["engine"]["image"] == "registry.example/llm:3"


def test_a_home_and_a_scope_of_systemd_are_seen_through() -> None:
    found = taken(
        "source $HOME/env/bin/activate\n"
        "systemd-run --user --scope -p MemoryMax=90% "
        "python3 -m vllm.entrypoints.openai.api_server --model $HOME/models/m --max_model_len 64\n"
    )
    assert found.table["python"] == "/home/me/env/bin/python3"
    assert found.table["model"] == "/home/me/models/m"
    assert found.table["max_model_len"] == 64
    assert "environment" not in found.table


def test_a_script_around_docker_is_read_through() -> None:
    found = taken(
        'MODELS=/data/models\nOPTS="--gpus all --ipc=host"\n'
        "docker run -d $OPTS --name chat -p 8080:8000 -v $MODELS:/models \\\n"
        "  vllm/vllm-openai:v0.10.2 --model /models/llama --max-num-seqs 4\n"
    )
    assert found.name == "chat"
    assert found.table["model"] == "/data/models/llama"
    assert found.table["port"] == 8080
    assert found.table["max_num_seqs"] == 4


PIECES = st.sampled_from(
    [
        *("vllm serve org/m", " --port ", "8000", "$A", '"${A[@]}"', "A=", "A+=(", ")", "("),
        *("\n", ";", " && ", "|", "#", "\\\n", "$(", "`", "export ", "cd ", "source ", ". x"),
        *("docker run vllm/vllm-openai org/m", " ", "${B:-c}", "<<EOF", "EOF", "{", "}", "\\"),
        *("'", '"', "if "),
    ]
)


@settings(max_examples=150)
@given(st.lists(PIECES, max_size=25))
def test_any_script_is_a_table_or_one_error(pieces: list[str]) -> None:
    script = "".join(pieces)
    with suppress(NoEngineError):
        assert taken(script, x=script).table["port"] > 0


def test_quotes_that_touch_are_one_word_and_an_escaped_dollar_is_the_inner_shells() -> None:
    found = taken(
        "KV=fp8\nLEN=4096\ndocker run --network host --entrypoint bash own:1 -lc 'exec vllm serve"
        " org/m \\\n  --kv-cache-dtype '\"$KV\"' --max-model-len '\"$LEN\"' --port 9000'\n"
    )
    assert (found.table["kv_cache_dtype"], found.table["max_model_len"]) == ("fp8", 4096)
    inner = taken(
        'docker run --network host --entrypoint bash own:1 -c "\nM=org/m\n'
        'exec vllm serve \\$M \\\\\n  --port 9000\n"\n'
    )
    assert (inner.table["model"], inner.table["port"]) == ("org/m", 9000)


def test_what_is_set_behind_a_test_is_a_branch() -> None:
    found = taken(
        'X=""; [ "$1" = fast ] && X="--enforce-eager"\nY=9000\n'
        "exec /v/bin/vllm serve org/m $X --port $Y\n"
    )
    assert found.table["enforce_eager"] is True
    assert "branch" in why(found, "$X")
    assert [left.what for left in found.left] == ["$X"]


def test_where_the_output_goes_is_no_word_of_vllms() -> None:
    found = taken(
        "docker run --network host own:1 vllm serve org/m --port 9000 >/dev/null 2>&1 </dev/null\n"
    )
    assert [left.what for left in found.left] == []
    alone = taken("/v/bin/vllm serve org/m --port 9000 >>/var/log/x 2>/var/log/y &\n")
    assert (alone.table["port"], alone.left) == (9000, [])


def test_an_image_whose_name_tells_nothing_is_known_by_a_model_among_its_words() -> None:
    found = taken("docker stop x\ndocker run -p 8000:8000 own:1 --host 0.0.0.0 --model=org/m\n")
    assert (found.table["model"], found.table["engine"]["image"]) == ("org/m", "own:1")


def test_an_exported_variable_that_nothing_sets_is_named_and_not_given() -> None:
    found = taken('export HF_TOKEN="${HF_TOKEN:?first}"\nexec /v/bin/vllm serve org/m\n')
    assert "nothing sets it" in why(found, "HF_TOKEN=")
    assert "hf_token_file" not in found.table


FUNCTIONS = """
log() { echo "$1"; }
up() {
  log "x"
  curl -s localhost >/dev/null || { log "not up"; return 1; }
}
start() {
  local model=$1 port="${2:-8000}"
  shift 2
  up x y
  log "starting $model $1"
  if up; then log "is up"; fi
  nohup /v/bin/vllm serve "$model" --port "$port" &
}
PORT=9001
"""


@pytest.mark.parametrize(
    ("call", "model", "port"),
    [
        ("start org/m 9000", "org/m", 9000),
        ('start "org/n"', "org/n", 8000),
        ("start org/m $PORT", "org/m", 9001),
        ('case "$1" in\n  up) start org/m 9000 ;;\n  *) exit 1 ;;\nesac', "org/m", 9000),
        ("if ! up; then start org/m 9000; fi", "org/m", 9000),
        ("all() { start org/m 9000; }\nall", "org/m", 9000),
    ],
)
def test_a_function_is_read_with_the_words_of_its_call(call: str, model: str, port: int) -> None:
    found = taken(f"{FUNCTIONS}{call}\n")
    assert (found.table["model"], found.table["port"]) == (model, port)
    assert not [left for left in found.left if left.what.startswith(("$model", "$1", "lines"))]


def test_two_calls_are_two_lines_and_a_function_that_nobody_calls_is_read_where_it_stands() -> None:
    twice = taken(f"{FUNCTIONS}start org/a 9000\nstart org/b 9001\n")
    assert twice.table["model"] == "org/a"
    assert "first of 2" in why(twice, "lines of the script")
    dispatched = taken(f'{FUNCTIONS}"$@"\n')
    assert why(dispatched, "$1")


def test_all_arguments_of_a_function_are_its_calls() -> None:
    found = taken('serve() { exec /v/bin/vllm serve "$@"; }\nserve org/m --port 9000\n')
    assert (found.table["model"], found.table["port"]) == ("org/m", 9000)


def test_functions_that_call_one_another_without_end_are_read_to_an_end() -> None:
    found = taken("a() { b; b; }\nb() { a; a; }\na\n/v/bin/vllm serve org/m\n")
    assert found.table["model"] == "org/m"


def test_a_shell_within_the_script_is_read_as_one() -> None:
    found = taken(
        "GPU=1\nMODEL=org/m\n"
        "bash -lc 'export CUDA_VISIBLE_DEVICES=$GPU; PORT=9000; mkdir -p /x;"
        " exec vllm serve $MODEL --port $PORT 2>&1 | tee /x/log'\n"
    )
    assert (found.table["model"], found.table["port"]) == ("org/m", 9000)
    assert found.table["gpus"] == [1]
    assert why(found, "`mkdir -p /x`")
    tmux = taken(
        "tmux new-session -d -s s \"bash -lc 'set -x; export A_B=1; vllm serve org/m --port 9000;"
        ' ec=\\${PIPESTATUS[0]}; echo \\"\\$ec\\"\'"\n'
    )
    assert (tmux.table["port"], tmux.table["environment"]) == (9000, {"A_B": "1"})


def test_an_image_called_vllm_is_one() -> None:
    for image in ("vllm", "vllm-ours-v019", "vllm:3"):
        found = taken(f"docker run -d --name vllm --net host {image} serve org/m --port 9000\n")
        assert (found.table["model"], found.table["engine"]["image"]) == ("org/m", image)


def test_a_line_has_what_was_exported_before_it_and_nothing_after() -> None:
    found = taken(
        "export A_A=1\n/v/bin/vllm serve org/m --port 9000 &\nexport A_A=2 B_B=3\n"
        "/v/bin/vllm serve org/n --port 9001 &\n"
    )
    assert (found.table["model"], found.table["environment"]) == ("org/m", {"A_A": "1"})
