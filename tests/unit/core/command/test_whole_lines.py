# SPDX-License-Identifier: Apache-2.0
"""vLLM is found in a whole command line and in a unit."""

import shlex

import pytest

from agent.core.command.line import NotVllmError, vllm_line
from agent.core.command.unit_file import unit_command

WORDS = ("org/m", "--port", "8001")


@pytest.mark.parametrize(
    ("line", "program"),
    [
        ("vllm serve org/m --port 8001", "vllm"),
        ("/opt/v/bin/vllm serve org/m --port 8001", "/opt/v/bin/vllm"),
        ("sudo -u vllm numactl -N 0 /v/bin/vllm serve org/m --port 8001", "/v/bin/vllm"),
        ("uv run vllm serve org/m --port 8001 > log 2>&1 &", "vllm"),
        ("/v/bin/python3 -m vllm.entrypoints.cli.main serve org/m --port 8001", "/v/bin/python3"),
        ("python -m vllm.entrypoints.openai.api_server org/m --port 8001", "python"),
        ("bash -lc 'source a; exec vllm serve org/m --port 8001'", "vllm"),
        ("docker run --rm --gpus all vllm/vllm-openai:v0.33.0 org/m --port 8001", ""),
        (
            "docker run -v vllm-cache:/root --name vllm nvcr.io/nvidia/vllm:26.01 "
            "vllm serve org/m --port 8001",
            "",
        ),
        (
            "bash -c '\"$@\"; status=$?; exit $status' name /v/bin/vllm serve org/m --port 8001",
            "/v/bin/vllm",
        ),
        ("podman run --network=host docker.io/vllm/vllm-openai serve org/m --port 8001", ""),
    ],
)
def test_vllm_is_found_behind_what_starts_it(line: str, program: str) -> None:
    found = vllm_line(shlex.split(line))
    assert found.words == WORDS
    assert found.program == program or "docker" in line


def test_the_image_of_a_container_is_told() -> None:
    line = "docker run --gpus all nvcr.io/nvidia/vllm:25.09-py3 vllm serve org/m --port 8001"
    assert vllm_line(line.split()).image == "nvcr.io/nvidia/vllm:25.09-py3"
    line = f"bash -c 'exec {line}'"
    assert vllm_line(shlex.split(line)).image == "nvcr.io/nvidia/vllm:25.09-py3"
    assert vllm_line(["vllm", "serve", "org/m"]).image == ""


def test_variables_on_the_line_are_kept() -> None:
    line = "env VLLM_USE_V1=1 HF_HOME=/d vllm serve org/m"
    assert vllm_line(line.split()).environment == {"VLLM_USE_V1": "1", "HF_HOME": "/d"}
    line = "docker run -e A=1 --env B=2 --env=C=3 -e D vllm/vllm-openai org/m"
    assert vllm_line(line.split()).environment == {"A": "1", "B": "2", "C": "3"}


@pytest.mark.parametrize(
    "line",
    ["", "vllm bench serve", "nginx -g x", "docker run redis", "bash script.sh", "bash -c 'a"],
)
def test_a_line_without_vllm_is_told(line: str) -> None:
    with pytest.raises(NotVllmError):
        vllm_line(line.split())


UNIT = """
[Unit]
Description=vllm = the best
[Service]
Environment="A=x y" B=2
Environment=C=3
EnvironmentFile=-/etc/default/vllm
ExecStart=/bin/false
; a comment
ExecStart=
ExecStart=-/v/bin/vllm serve org/m \\
  --max-model-len 32k \\
# a comment within
  --served-model-name "my model" --x 50%%
"""


def test_a_unit_is_read_as_systemd_reads_it() -> None:
    found = unit_command(UNIT)
    assert found.words == (
        *("/v/bin/vllm", "serve", "org/m", "--max-model-len", "32k"),
        *("--served-model-name", "my model", "--x", "50%"),
    )
    assert found.environment == {"A": "x y", "B": "2", "C": "3"}
    assert found.files == ("/etc/default/vllm",)
    drop_in = (
        "\n[Service]\nEnvironment=\nEnvironmentFile=\nExecStart=\nExecStart=/v/bin/vllm serve b"
    )
    changed = unit_command(UNIT + drop_in)
    assert changed.words == ("/v/bin/vllm", "serve", "b")
    assert (changed.environment, changed.files) == ({}, ())
