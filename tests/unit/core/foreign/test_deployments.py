# SPDX-License-Identifier: Apache-2.0
"""Published deployments that are brought over: what becomes of each of their options."""

import tomli_w
import yaml

from agent.config.agent_toml import parse
from agent.core.engine.install import image_install
from agent.core.foreign.compose.services import engines_of_compose
from agent.core.foreign.found import Found
from agent.core.foreign.options import options_of_host_config
from agent.core.foreign.table import Imported, table_of
from agent.core.foreign.unit import engine_of_words
from agent.core.settings.service import Sandbox
from agent.core.unit.text import UnitInputs, render_unit
from tests.given.published.deployments import ADA_LINE, GB10_COMPOSE, TOKEN
from tests.given.unit_reader import argv, values_of

BASE = Found("box", (), {"HF_TOKEN": TOKEN}, directory="/srv/app", home="/root")


def no_file(_name: str) -> None:
    """Return nothing: no file is there to be read."""


def gb10() -> Imported:
    (found,) = engines_of_compose([yaml.safe_load(GB10_COMPOSE)], BASE, "docker", no_file, no_file)
    return table_of(found)


def ada() -> Imported:
    return table_of(engine_of_words(Found("box", ()), ADA_LINE, no_file))


def unit_of(taken: Imported, **more: object) -> str:
    text = tomli_w.dumps({"service": {taken.name: {**taken.table, **more}}})
    (policy,) = parse(text, "agent.toml").services.values()
    settings = policy.settings
    return render_unit(settings, image_install(settings.engine).engine(None), UnitInputs())


def test_the_gb10_compose_service_is_brought_over_option_by_option() -> None:
    taken = gb10()
    assert taken.left == []
    assert taken.name == "vllm-llama31-8b-fp8"
    unit = unit_of(taken)
    words = argv(unit)
    becomes = {
        "container_name": "--name=vllm-llama31-8b-fp8",
        "image": "nvcr.io/nvidia/vllm:25.09-py3",
        "ports": "--port=8000",
        "ports, at every address": "--host=0.0.0.0",
        "ulimits.memlock": "--ulimit=memlock=-1:-1",
        "ulimits.stack": "--ulimit=stack=67108864:67108864",
        "volumes": "--mount=type=bind,source=/opt/hf,target=/opt/hf",
        "the hub's cache there": "--env=HF_HOME=/opt/hf",
        "HF_TOKEN": "--env=HF_TOKEN_PATH=/run/credentials/vllm-llama31-8b-fp8.service/hf_token",
        "deploy...devices": "--gpus=all",
        "vllm serve": "vllm.entrypoints.openai.api_server",
        "its model": "--model=nvidia/Llama-3.1-8B-Instruct-FP8",
        "--download-dir": "/opt/hf",
        "--max-model-len": "--max-model-len=32768",
        "--gpu-memory-utilization": "--gpu-memory-utilization=0.9",
        "--max-num-batched-tokens": "--max-num-batched-tokens=16384",
        "--max-num-seqs": "--max-num-seqs=64",
        "--enable-prefix-caching": "--enable-prefix-caching",
        "--trust-remote-code": "--trust-remote-code",
    }
    assert {what: word for what, word in becomes.items() if word not in words} == {}
    assert values_of(unit, "Restart") == ["always"], "restart: unless-stopped"
    assert values_of(unit, "LoadCredential") == ["hf_token:/etc/llmagent/hf_token"]
    assert TOKEN not in unit
    # ipc: host. strict has shared memory of its own, basic the host's as published.
    assert {"--ipc=private", "--shm-size=16g"} <= set(words)
    assert "--ipc=host" in argv(unit_of(taken, sandbox=Sandbox.BASIC.value))


def test_the_rtx_4000_ada_line_is_brought_over_option_by_option() -> None:
    taken = ada()
    assert taken.left == []
    assert taken.name == "llama"
    unit = unit_of(taken)
    words = argv(unit)
    home = "/home/me/.cache/huggingface"
    becomes = {
        "--name": "--name=llama",
        "the image": "vllm/vllm-openai:latest",
        "--gpus all, --runtime nvidia": "--gpus=all",
        "-v": f"--mount=type=bind,source={home},target={home}",
        "the hub's cache there": f"--env=HF_HOME={home}",
        "--env HF_TOKEN": "--env=HF_TOKEN_PATH=/run/credentials/llama.service/hf_token",
        "-p": "--port=8000",
        "-p, at every address": "--host=0.0.0.0",
        "--ipc=host": "--ipc=private",
        "--model": "--model=meta-llama/Meta-Llama-3-8B-Instruct",
        "--quantization": "--quantization=fp8",
        "--gpu-memory-utilization": "--gpu-memory-utilization=0.9",
        "--max-num-seqs": "--max-num-seqs=128",
    }
    assert {what: word for what, word in becomes.items() if word not in words} == {}
    assert TOKEN not in unit
    assert not any("runtime" in word for word in words), "--gpus works by the usual runtime, too"


def test_what_a_deployment_asks_beyond_the_units_own_goes_with_it() -> None:
    service = yaml.safe_load(GB10_COMPOSE)
    service["services"]["vllm-llama31-8b-fp8"] |= {
        "shm_size": "64gb",
        "ulimits": {"memlock": -1, "nofile": {"soft": 4194304, "hard": 4194304}, "rtprio": 99},
        "devices": ["/dev/infiniband:/dev/infiniband", "nvidia.com/gpu=all"],
        "cap_add": ["IPC_LOCK"],
        "security_opt": ["no-new-privileges:true", "seccomp=unconfined"],
        "extra_hosts": ["hub:10.0.0.2"],
        "runtime": "nvidia",
    }
    (found,) = engines_of_compose([service], BASE, "docker", no_file, no_file)
    taken = table_of(found)
    expected = [
        "--cap-add=IPC_LOCK",
        "--device=/dev/infiniband:/dev/infiniband",
        "--add-host=hub:10.0.0.2",
        "--security-opt=seccomp=unconfined",
        "--shm-size=64gb",
        "--ulimit=nofile=4194304:4194304",
        "--ulimit=rtprio=99",
    ]
    assert taken.table["engine"]["extra_options"] == expected
    words = argv(unit_of(taken))
    # docker takes the last of two.
    assert words.index("--shm-size=64gb") > words.index("--shm-size=16g")
    line = "docker run --gpus all --shm-size 64gb --ulimit memlock=-1 --ulimit rtprio=99 "
    line += "--runtime runsc --security-opt no-new-privileges --device /dev/infiniband "
    line += "--ipc container:other vllm/vllm-openai:v0.10.2 org/m"
    taken = table_of(engine_of_words(BASE, tuple(line.split()), no_file))
    assert taken.table["engine"]["extra_options"] == [
        *("--shm-size=64gb", "--ulimit=rtprio=99", "--runtime=runsc", "--device=/dev/infiniband")
    ]
    assert next(left.what for left in taken.left) == "--ipc container:other"


def test_what_dockers_daemon_adds_to_its_answer_is_not_the_operators() -> None:
    """As 20.10 answers for a container of --ipc=host, --ulimit memlock=-1 and a /dev/infiniband."""
    device = {"PathOnHost": "/dev/infiniband", "PathInContainer": "/dev/infiniband"}
    host = {
        "Runtime": "runc",
        "ShmSize": 67108864,
        "IpcMode": "host",
        "SecurityOpt": ["label=disable"],
        "CapAdd": None,
        "Dns": [],
        "Memory": 0,
        "UsernsMode": "",
        "Ulimits": [{"Name": "memlock", "Hard": -1, "Soft": -1}],
        "Devices": [{**device, "CgroupPermissions": "rwm"}],
    }
    assert options_of_host_config(host) == ("--device=/dev/infiniband:/dev/infiniband:rwm",)


def test_a_script_before_vllm_is_named() -> None:
    """As the compose file of the GB10 has it for one of its models."""
    service = yaml.safe_load(GB10_COMPOSE)
    service["services"]["vllm-llama31-8b-fp8"] |= {
        "image": "vllm/vllm-openai:nightly",
        "entrypoint": ["/bin/bash", "/scripts/start.sh"],
        "command": ["org/m", "--max-model-len", "32768"],
    }
    (found,) = engines_of_compose([service], BASE, "docker", no_file, no_file)
    taken = table_of(found)
    assert (taken.table["model"], taken.table["max_model_len"]) == ("org/m", 32768)
    assert [left.what for left in taken.left] == ["entrypoint /bin/bash /scripts/start.sh"]
