# SPDX-License-Identifier: Apache-2.0
"""The border of what `import` reads: units, files of containers, scripts, compose files, lines."""

from __future__ import annotations

from pathlib import Path

from agent.errors import AgentError
from agent.tasks.foreign.source import imported, source_of
from tests.fuzz.driver import Border

UNIT = b"""\
[Service]
User=llm
Environment=HF_HOME=/srv/hf "VLLM_LOGGING_LEVEL=INFO"
EnvironmentFile=-/etc/none
ExecStart=/opt/vllm/bin/vllm serve org/model --port 8000 \\
  --max-model-len 32k --gpu-memory-utilization 0.9
MemoryMax=64G
"""
DOCKER = b"""\
[Service]
ExecStart=docker run --gpus all -p 8000:8000 -v /srv/hf:/root/.cache --shm-size 16g \\
  -e A=1 vllm/vllm-openai:v0.32.0 --model org/model --tensor-parallel-size 2
"""
QUADLET = b"""\
[Container]
Image=docker.io/vllm/vllm-openai:v0.32.0
Exec=--model org/model --max-num-seqs 8
Volume=/srv/hf:/root/.cache/huggingface
PublishPort=8000:8000
ShmSize=8g
"""
COMPOSE = b"""\
x-common: &common {restart: always, shm_size: 8gb}
services:
  a:
    <<: *common
    image: vllm/vllm-openai:v0.32.0
    command: ["--model", "org/model", "--max-model-len", "32768"]
    ports: ["8000:8000"]
    environment: {A: 1}
    deploy: {resources: {reservations: {devices: [{driver: nvidia, count: 1}]}}}
"""
PROJECT = b"""\
include: [x.yml, {path: [y.yml], project_directory: ..}]
services:
  a: {extends: {file: x.yml, service: b}, ports: !override ["9000:8000"], env_file: x.yml}
  b: {extends: c, environment: [A=1, B], volumes: [./m:/m, {type: bind, source: n, target: /m}]}
  c: {image: vllm, entrypoint: [sh, -c], ulimits: !reset {}, command: ['vllm serve "$$@"', x, m]}
"""
FUNCTIONS = b"""#!/bin/sh
log() { echo "$1"; }
start() {
  local model=$1
  mkdir -p /x && ulimit -n 9; [ "$2" = y ] && X="--enforce-eager"
  bash -lc 'cat <<EOF >/x/y
EOF
  exec vllm serve "$model" '"$X"' --port $PORT >/dev/null 2>&1'
}
case "$1" in up|on) log "x"; start org/m y ;; esac
"""
SCRIPT = b"""\
#!/bin/bash
MODEL=${1:-org/model}
export CUDA_VISIBLE_DEVICES=0,1
exec vllm serve "$MODEL" --port 8000 --speculative-config '{"method": "ngram"}'
"""
KINDS = (".service", ".container", ".yml", ".sh")


def taken_in(directory: Path) -> Border:
    """Return the border; whatever the form of an input, it is read as each kind of file."""

    def take(content: bytes) -> None:
        for kind in KINDS:
            file = directory / f"x{kind}"
            file.write_bytes(content)
            said = _said_of(file)
            file.unlink()
            assert said.strip(), "an error without a word"

    words = (
        *(b"!!int ", b"!!timestamp ", b"&a ", b"*a", b"<<: *common", b"%i", b"${", b"$(", b"'"),
        *(b"--shm-size ", b"--max-model-len ", b"--config ", b"Environment=", b"ExecStart="),
        *(b"docker run ", b"sh -c ", b"-p ", b"-v ", b"--gpus ", b"[Service]\n", b"services:\n"),
        *(
            b"extends: ",
            b"include: ",
            b"!override ",
            b"f() {",
            b"}\n",
            b"<<EOF\n",
            b"EOF\n",
            b"&& ",
        ),
    )
    return Border(
        "import", take, (UNIT, DOCKER, QUADLET, COMPOSE, PROJECT, SCRIPT, FUNCTIONS), words
    )


def _said_of(file: Path) -> str:
    """Return the table that a file becomes, or the one sentence that says why it is none."""
    try:
        source = source_of(str(file), None)
        return repr([imported(found, None) for found in source.engines])
    except AgentError as error:
        return str(error)
