# SPDX-License-Identifier: Apache-2.0
"""`llmagent plan`: a model's files, a config.json or a name in; the contract out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.cli.main import main
from agent.core.gpu.reading import Gpu, GpuMemory
from agent.core.state.card import Card
from agent.core.view.gpus import GpusView, GpuView
from agent.core.view.snapshot import ProvenView, ServiceView, Snapshot, to_json
from agent.host.models.files import weights_gib
from agent.host.models.known import known_models

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
KEYS = {
    *("verdict", "reason", "weights_gib", "activation_gib", "non_torch_gib", "cuda_graph_gib"),
    *("available_kv_gib", "error_gib", "needed_kv_gib", "kv_bytes_per_token", "kv_tokens"),
    *("max_concurrency", "max_model_len", "largest_max_model_len", "terms", "advice"),
    *("notes", "not_known", "gpus", "gpu", "host_memory", "decode_roof_tokens_per_second"),
}


def plan(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict[str, Any], str]:
    away = () if "--status" in argv else ("--status", "/nowhere/status.json")
    status = main(["plan", *argv, *away, "--format", "json"])
    out, err = capsys.readouterr()
    return status, json.loads(out) if out else {}, err


@pytest.mark.parametrize(("release", "cached"), [("0.31.0", 1152), ("0.32.0", 576)])
def test_a_cache_that_is_kept_in_fp8_unasked_is_said_so(
    capsys: pytest.CaptureFixture[str], release: str, cached: int
) -> None:
    argv = ("zai-org/GLM-5.2-FP8", "--gpu", "B200", "-tp", "8", "--vllm-version", release)
    _, document, _ = plan(capsys, *argv)
    assert document["kv_bytes_per_token"] == 78 * (cached + 132)
    assert any("fp8, which vLLM takes unasked" in note for note in document["notes"]) == (
        cached == 576
    )


@pytest.mark.parametrize("release", ["0.8.5", "0.10.1", "0.11"])
def test_a_model_that_caches_nothing_serves_as_many_as_it_has_states_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, release: str
) -> None:
    """Recurrent layers only; before 0.11 their states lie beside the cache (no figure is inf)."""
    config = {
        "architectures": ["Mamba2ForCausalLM"],
        "model_type": "mamba2",
        "hidden_size": 1024,
        "num_hidden_layers": 4,
        "vocab_size": 1000,
        "state_size": 64,
        "num_heads": 32,
        "head_dim": 64,
        "n_groups": 1,
        "conv_kernel": 4,
        "expand": 2,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    argv = ("--config-json", str(tmp_path / "config.json"), "--gpu-memory-gib", "23.5")
    _, shape, _ = plan(capsys, *argv, "--max-num-seqs", "64", "--vllm-version", release)
    json.dumps(shape, allow_nan=False)
    assert shape["max_concurrency"] >= 64


@pytest.mark.parametrize("version", ["xyz", "latest", "9.0"])
def test_profiles_refuse_what_is_no_release(
    capsys: pytest.CaptureFixture[str], version: str
) -> None:
    assert main(["profiles", "--vllm-version", version]) == 2
    assert f"--vllm-version {version}" in capsys.readouterr().err


def a_model(directory: Path, config: Mapping[str, Any], tensors: Mapping[str, int]) -> Path:
    """A model's directory with sparse safetensors files of the given sizes."""
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps(dict(config)))
    for name, size in tensors.items():
        header = json.dumps(
            {
                "__metadata__": {"format": "pt"},
                "w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]},
            }
        ).encode()
        with (directory / name).open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            file.truncate(8 + len(header) + size)
    return directory


@pytest.fixture
def config_json(tmp_path: Path) -> Path:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(dict(known_models()[LLAMA])))
    return file


def test_the_json_has_the_documented_keys(
    capsys: pytest.CaptureFixture[str], config_json: Path
) -> None:
    argv = (
        "--config-json",
        str(config_json),
        "--gpu-memory-gib",
        "23.5",
        "--max-model-len",
        "8192",
    )
    status, document, _ = plan(capsys, *argv)
    assert status == 0
    assert document.keys() == KEYS
    assert document["verdict"] == "fits"
    assert document["kv_bytes_per_token"] == 131_072
    assert [row["name"] for row in document["terms"]][:4] == [
        "weights",
        "activation",
        "non_torch",
        "cuda_graph",
    ]


def test_what_does_not_fit_ends_with_1_and_says_what_would_help(
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = ("--model", LLAMA, "--gpu-memory-gib", "15.6", "--max-model-len", "8192")
    status, document, _ = plan(capsys, *argv)
    assert status == 1
    assert document["verdict"] == "does not fit"
    assert any("AWQ" in sentence for sentence in document["advice"])


def test_every_option_of_vllm_is_taken_under_its_own_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = (
        *("--model", LLAMA, "--gpu-memory-gib", "79.19", "--tensor-parallel-size", "2"),
        *("--pipeline-parallel-size", "1", "--quantization", "fp8", "--kv-cache-dtype", "fp8"),
        *("--max-model-len", "4096", "--max-num-seqs", "16", "--max-num-batched-tokens", "4096"),
        *("--gpu-memory-utilization", "0.5", "--enforce-eager", "--vllm-version", "0.16.0"),
        *("--weights-gib", "4.3"),
    )
    status, document, _ = plan(capsys, *argv)
    assert status == 0
    assert document["weights_gib"] == 4.3
    assert document["cuda_graph_gib"] == 0
    assert document["kv_bytes_per_token"] == 32_768


def test_the_weights_of_a_local_model_are_read_from_its_headers(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    gib = 1024**3
    sizes = {"model-00001-of-00002.safetensors": gib, "model-00002-of-00002.safetensors": 2 * gib}
    directory = a_model(tmp_path / "m", known_models()[LLAMA], sizes)
    index = {"metadata": {"total_size": 3 * gib}, "weight_map": dict.fromkeys("ab")}
    index["weight_map"] = dict(zip("ab", sizes, strict=True))
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    assert weights_gib(directory) == 3.0
    _, document, _ = plan(capsys, "--model", str(directory), "--gpu-memory-gib", "23.5")
    assert document["weights_gib"] == 3.0


def test_a_file_that_the_index_names_and_that_is_missing_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    directory = a_model(tmp_path / "m", known_models()[LLAMA], {"a.safetensors": 10})
    index = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    status, _, err = plan(capsys, "--model", str(directory), "--gpu-memory-gib", "23.5")
    assert status == 2
    assert "b.safetensors" in err


@pytest.mark.parametrize("damage", ["cut", "not a header", "empty"])
def test_a_broken_safetensors_file_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, damage: str
) -> None:
    directory = a_model(tmp_path / "m", known_models()[LLAMA], {"model.safetensors": 5000})
    file = directory / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes({"cut": whole[:-1], "not a header": b"\xff" * 64, "empty": b""}[damage])
    status, _, err = plan(capsys, "--model", str(directory), "--gpu-memory-gib", "23.5")
    assert status == 2
    assert "model.safetensors" in err
    assert "download it again" in err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), "name a model"),
        (("--model", "nobody/nothing", "--gpu-memory-gib", "24"), "--config-json"),
        (("--model", LLAMA), "--gpu-memory-gib"),
        (("--model", LLAMA, "--gpu-memory-gib", "-1"), "no card's memory"),
        (("--config-json", "/nowhere/config.json", "--gpu-memory-gib", "24"), "/nowhere"),
        (
            ("--model", LLAMA, "--quantization", "quip", "--gpu-memory-gib", "24"),
            "--weights-gib",
        ),
    ],
)
def test_inputs_that_make_no_plan_are_named(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], words: str
) -> None:
    status, _, err = plan(capsys, *argv)
    assert status == 2
    assert words in err


def test_a_config_that_is_no_models_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "config.json"
    for text in ("[]", "{", '{"hidden_size": "big"}', '{"hidden_size": 64}'):
        file.write_text(text)
        status, _, err = plan(capsys, "--config-json", str(file), "--gpu-memory-gib", "24")
        assert status == 2, text
        assert "config.json" in err


def test_a_service_of_agent_toml_is_planned_with_its_settings(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    directory = a_model(tmp_path / "m", known_models()[LLAMA], {})
    config = tmp_path / "agent.toml"
    config.write_text(
        f'[service.vllm]\nmodel = "{directory}"\nkv_cache_dtype = "fp8"\nmax_model_len = 4096\n'
    )
    argv = ("vllm", "--config", str(config), "--gpu-memory-gib", "23.5", "--vllm-version", "0.32")
    status, document, _ = plan(capsys, *argv)
    assert status == 0
    assert document["kv_bytes_per_token"] == 65_536
    assert document["max_model_len"] == 4096


def test_the_table_for_a_person_names_every_gib(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["plan", "--model", LLAMA, "--gpu-memory-gib", "23.5", "--max-model-len", "8192"]) == 0
    )
    out = capsys.readouterr().out
    for word in ("weights", "activation", "non_torch", "cuda_graph", "available_kv", "fits"):
        assert word in out


def the_agents_status(tmp_path: Path, proven: Mapping[str, Any] | None = None) -> Path:
    """status.json of an agent that sees two cards, as it is written."""
    cards = tuple(
        GpuView(Gpu(i, f"GPU-{i}", memory=GpuMemory(gib * 2**30, 0, 0)), Card(f"GPU-{i}"))
        for i, gib in enumerate((48, 24))
    )
    view = None if proven is None else ProvenView({}, **proven)
    service = ServiceView("vllm", "vllm.service", "serving", 0.0, "", proven=view)
    shown = Snapshot(0.0, "0.1.0", services=(service,), gpus=GpusView(1.0, gpus=cards))
    file = tmp_path / "status.json"
    file.write_text(json.dumps(to_json(shown)))
    return file


def test_the_smallest_card_that_the_agent_sees_is_planned_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    argv = ("--model", LLAMA, "--max-model-len", "8192", "--gpu-memory-utilization", "0.5")
    _, here, _ = plan(capsys, *argv, "--status", str(the_agents_status(tmp_path)))
    _, there, _ = plan(capsys, *argv, "--gpu-memory-gib", "24")
    assert {**here, "notes": []} == {**there, "notes": []}


def test_what_vllm_printed_on_this_host_is_planned_with(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(f'[service.vllm]\nmodel = "{LLAMA}"\nmax_model_len = 8192\n')
    printed = {"weights_gib": 15.5, "available_kv_gib": 4.25, "cuda_graph_gib": 0.75}
    file = str(the_agents_status(tmp_path, printed))
    argv = ("vllm", "--config", str(config), "--status", file)
    _, document, _ = plan(capsys, *argv)
    assert {name: document[name] for name in printed} == printed
    _, changed, _ = plan(capsys, *argv, "--max-num-seqs", "8")
    assert changed["weights_gib"] == 15.5
    assert changed["available_kv_gib"] != 4.25
    dated = the_agents_status(tmp_path, {**printed, "at_seconds": 1_795_000_000.0})
    _, told, _ = plan(capsys, "vllm", "--config", str(config), "--status", str(dated))
    assert str(told["reason"]).endswith("measured here on 2026-11-18")


def test_only_the_tensors_that_vllm_loads_count_as_weights(tmp_path: Path) -> None:
    spans = {
        "model.embed_tokens.weight": 100,
        "model.layers.0.mlp.up_proj.weight": 1000,
        "model.layers.1.mlp.up_proj.weight": 5000,
        "mtp.layers.0.mlp.up_proj.weight": 7000,
        "lm_head.weight": 100,
    }
    header, end = {}, 0
    for name, size in spans.items():
        header[name] = {"dtype": "BF16", "shape": [size // 2], "data_offsets": [end, end + size]}
        end += size
    head = json.dumps(header).encode()
    file = tmp_path / "model.safetensors"
    file.write_bytes(len(head).to_bytes(8, "little") + head + bytes(end))
    config = {"num_hidden_layers": 1, "tie_word_embeddings": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    gib = weights_gib(tmp_path)
    assert gib is not None
    assert gib * 2**30 == pytest.approx(1100)


def test_a_gguf_file_counts_whole_beside_its_models_config(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with (tmp_path / "m-Q4_K_M.gguf").open("wb") as file:
        file.truncate(5 * 2**30)
    argv = ("--model", str(tmp_path / "m-Q4_K_M.gguf"), "--gpu-memory-gib", "23.5")
    status, _, err = plan(capsys, *argv)
    assert status == 2
    assert "--config-json" in err
    (tmp_path / "config.json").write_text(json.dumps(dict(known_models()[LLAMA])))
    _, document, _ = plan(capsys, *argv)
    assert document["weights_gib"] == 5


def test_an_a100_is_planned_with_the_step_that_vllm_gives_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = ("--model", LLAMA, "--gpu-memory-gib", "79.2", "--vllm-version", "0.11")
    _, hopper, _ = plan(capsys, *argv)
    _, ampere, _ = plan(capsys, *argv, "--gpu-name", "NVIDIA A100-SXM4-80GB")
    assert ampere["activation_gib"] < 0.5 * hopper["activation_gib"]


@pytest.mark.parametrize(
    "option",
    [
        ("--gpu-memory-gib", "nan"),
        ("--gpu-memory-gib", "0"),
        ("--tensor-parallel-size", "0"),
        ("--max-model-len", "-5"),
        ("--gpu-memory-utilization", "0"),
        ("--gpu-memory-utilization", "inf"),
        ("--weights-gib", "nan"),
    ],
)
def test_a_number_that_is_none_is_named_with_its_option(
    capsys: pytest.CaptureFixture[str], option: tuple[str, str]
) -> None:
    status, _, err = plan(capsys, "--model", LLAMA, "--gpu-memory-gib", "23.5", *option)
    assert status == 2
    assert option[0] in err
