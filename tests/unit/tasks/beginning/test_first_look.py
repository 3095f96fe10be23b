# SPDX-License-Identifier: Apache-2.0
"""What lies on a host is found: environments with vLLM, whole models, a free port."""

import json
import socket
import struct
import threading
import zipfile
from pathlib import Path

import pytest

from agent.errors import HostLacksError, UsageError
from agent.host.models.here import models_here
from agent.host.probes.engines_here import pythons_with_vllm
from agent.tasks.beginning.environment import commands, make_environment
from agent.tasks.beginning.look import Search, free_port

COMMIT = "abc1230def" * 4
CONFIG = {"architectures": ["LlamaForCausalLM"], "hidden_size": 64}


def weights(tensor_bytes: int) -> bytes:
    """A safetensors file with one tensor of so many bytes."""
    shape = {"dtype": "U8", "shape": [tensor_bytes], "data_offsets": [0, tensor_bytes]}
    header = json.dumps({"model.embed_tokens.weight": shape}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(tensor_bytes)


def model(place: Path, tensor_bytes: int = 4096) -> None:
    place.mkdir(parents=True)
    (place / "config.json").write_text(json.dumps(CONFIG))
    (place / "model.safetensors").write_bytes(weights(tensor_bytes))


def in_hub(hub: Path, name: str, tensor_bytes: int = 4096) -> None:
    cached = hub / f"models--{name.replace('/', '--')}"
    model(cached / "snapshots" / COMMIT, tensor_bytes)
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text(COMMIT)


def test_models_are_found_in_caches_and_directories_the_largest_first(tmp_path: Path) -> None:
    in_hub(tmp_path / "root/.cache/huggingface/hub", "org/small")
    in_hub(tmp_path / "home/bob/.cache/huggingface/hub", "org/two--dashes", 9000)
    model(tmp_path / "data/models/own", 20000)
    (tmp_path / "data/models/empty").mkdir()
    broken = tmp_path / "data/models/broken"
    model(broken)
    (broken / "model.safetensors").write_bytes(weights(4096)[:-100])
    found = models_here(tmp_path)
    assert [one.name for one in found] == [
        str(tmp_path / "data/models/own"),
        "org/two--dashes",
        "org/small",
    ]
    assert found[0].files_gib == pytest.approx(20000 / 2**30)


def test_a_model_in_two_caches_is_taken_from_llmagents_own(tmp_path: Path) -> None:
    for home in ("root/.cache/huggingface", "var/lib/vllm/huggingface"):
        in_hub(tmp_path / home / "hub", "org/m")
    (found,) = models_here(tmp_path)
    assert found.home == str(tmp_path / "var/lib/vllm/huggingface")


def environment(place: Path, distribution: str = "vllm-0.32.0") -> None:
    (place / "bin").mkdir(parents=True)
    (place / "bin/python").write_text("#!/bin/sh\n")
    (place / f"lib/python3.12/site-packages/{distribution}.dist-info").mkdir(parents=True)


def test_environments_are_found_where_people_put_them(tmp_path: Path) -> None:
    wanted = ("opt/vllm", "opt/llm/venv", "home/bob/.venv", "root/work/env", "srv/vllm")
    for place in wanted:
        environment(tmp_path / place)
    environment(tmp_path / "opt/other", "torch-2.11")
    found = pythons_with_vllm(tmp_path)
    assert set(found) == {str(tmp_path / place / "bin/python") for place in wanted}
    assert len(found) == len(wanted)


def test_a_port_on_which_somebody_listens_or_that_a_service_has_is_left_alone() -> None:
    first = free_port(())
    with socket.create_server(("127.0.0.1", first)):
        second = free_port(())
        assert second > first
        assert free_port({second}) > second


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in which pip finds a package called vllm, and nowhere else."""
    place = tmp_path / "wheels"
    place.mkdir()
    files = {
        "vllm/__init__.py": "ANSWER = 42\n",
        "vllm-0.33.1.dist-info/METADATA": "Metadata-Version: 2.1\nName: vllm\nVersion: 0.33.1\n\n",
        "vllm-0.33.1.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    names = [*files, "vllm-0.33.1.dist-info/RECORD"]
    with zipfile.ZipFile(place / "vllm-0.33.1-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr(names[-1], "".join(f"{name},,\n" for name in names))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(place))
    return place


def test_an_environment_is_made_with_vllm_and_its_bytecode(wheels: Path, tmp_path: Path) -> None:
    place = tmp_path / "made"
    assert make_environment(place, "vllm==0.33.*") == str(place / "bin/python")
    package = next(place.glob("lib/python3*/site-packages/vllm"))
    assert list(package.glob("__pycache__/__init__.*.pyc"))
    with pytest.raises(UsageError, match="not empty"):
        make_environment(place, "vllm==0.33.*")


def test_where_no_environment_can_be_made_it_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostLacksError, match=r"-m venv .*/file/made` failed"):
        make_environment(tmp_path / "file/made", "vllm==0.33.*")
    assert (tmp_path / "file").read_text() == ""


def test_what_is_run_can_be_typed(tmp_path: Path) -> None:
    lines = [" ".join(command) for command in commands(Path("/opt/vllm"), "vllm==0.33.*")]
    assert lines[0] == "/usr/bin/python3 -m venv /opt/vllm"
    assert lines[1] == "/opt/vllm/bin/python -m pip install vllm==0.33.*"


def test_a_directory_that_does_not_answer_costs_its_own_search_only() -> None:
    answered = threading.Event()
    hangs = Search(lambda: [str(answered.wait(60))])
    assert hangs.found(0.05) == []
    assert Search(lambda: ["there"]).found(5) == ["there"]
    answered.set()
