# SPDX-License-Identifier: Apache-2.0
"""A model's files count wherever they lie: in a directory, or in the hub's cache."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.host.models.known import what_it_is
from agent.host.models.snapshot import cached_gib, directory_of, with_files_beside

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GIB = 1024**3


def tensors(size: int) -> bytes:
    """A safetensors file with one tensor of so many bytes, all but its last byte a hole."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}})
    return len(header).to_bytes(8, "little") + header.encode()


def in_the_cache(home: Path, name: str, size: int) -> Path:
    """Lay a model as huggingface_hub does: a snapshot of links to blobs."""
    cached = home / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = cached / "snapshots" / COMMIT
    for place in (cached / "refs", cached / "blobs", snapshot):
        place.mkdir(parents=True)
    (cached / "refs" / "main").write_text(COMMIT)
    header = tensors(size)
    blob = cached / "blobs" / "b0"
    with blob.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + size)
    (snapshot / "model-00001-of-00001.safetensors").symlink_to(blob)
    weights = {"weight_map": {"w": "model-00001-of-00001.safetensors"}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(weights))
    (snapshot / "config.json").write_text("{}")
    return snapshot


def test_a_cached_model_is_as_large_as_its_files(tmp_path: Path) -> None:
    snapshot = in_the_cache(tmp_path, "org/new", GIB // 2)
    assert directory_of("org/new", None, str(tmp_path)) == snapshot
    assert cached_gib("org/new", None, str(tmp_path)) == pytest.approx(0.5)
    assert cached_gib("org/new", COMMIT, str(tmp_path)) == pytest.approx(0.5)


def test_a_cached_model_of_which_a_file_is_missing_is_counted_otherwise(tmp_path: Path) -> None:
    snapshot = in_the_cache(tmp_path, "org/new", 1024)
    (snapshot / "model-00001-of-00001.safetensors").unlink()
    assert cached_gib("org/new", None, str(tmp_path)) is None


@pytest.mark.parametrize("reference", ["../../../../etc", "", "\0"])
def test_a_reference_leads_nowhere_else(tmp_path: Path, reference: str) -> None:
    in_the_cache(tmp_path, "org/new", 1024)
    (tmp_path / "hub" / "models--org--new" / "refs" / "main").write_text(reference)
    assert directory_of("org/new", None, str(tmp_path)) is None


def test_a_model_that_is_not_here_has_no_files(tmp_path: Path) -> None:
    assert directory_of("org/new", None, str(tmp_path)) is None
    assert cached_gib("org/new", None, str(tmp_path)) is None


@pytest.mark.parametrize(
    ("modules", "pools"),
    [
        ('[{"type": "sentence_transformers.models.Transformer"}]', False),
        ('[{"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]', True),
        ('[7, {"type": null}, {"type": "a.b.pooling.Pooling"}]', True),
        ('{"type": "sentence_transformers.models.Pooling"}', False),
        ("[", False),
    ],
)
def test_a_model_of_sentence_transformers_is_pooled(
    tmp_path: Path, modules: str, *, pools: bool
) -> None:
    (tmp_path / "modules.json").write_text(modules)
    told = with_files_beside({"architectures": ["Qwen3ForCausalLM"]}, tmp_path)
    assert told.get("pools", False) is pools


def test_modelopts_own_file_tells_the_quantization_and_the_caches_dtype(tmp_path: Path) -> None:
    said = {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}
    (tmp_path / "hf_quant_config.json").write_text(json.dumps({"quantization": said}))
    assert with_files_beside({"a": 1}, tmp_path) == {
        "a": 1,
        "quantization_config": {"quant_method": "modelopt", **said},
    }
    own = {"quantization_config": {"quant_method": "fp8"}}
    merged = with_files_beside(own, tmp_path)["quantization_config"]
    assert (merged["quant_method"], merged["kv_cache_quant_algo"]) == ("fp8", "FP8")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"quantization": 3}', "[" * 100_000])
def test_a_broken_file_of_modelopt_adds_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "hf_quant_config.json").write_text(text)
    assert with_files_beside({"a": 1}, tmp_path) == {"a": 1}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("unsloth/Qwen3-8B-GGUF", "GGUF"),
        ("openai/whisper-large-v3", "speech"),
        ("stabilityai/stable-diffusion-3.5-large", "images"),
        ("black-forest-labs/FLUX.1-dev", "images"),
        ("Qwen/Qwen3-8B", ""),
        ("someone/whisperer-7b", ""),
    ],
)
def test_what_is_no_language_model_is_named(name: str, why: str) -> None:
    assert why in what_it_is(name)
    assert bool(what_it_is(name)) == bool(why)


def a_fifo(file: Path) -> None:
    os.mkfifo(file)


def a_device_without_end(file: Path) -> None:
    file.symlink_to("/dev/zero")


def a_terabyte(file: Path) -> None:
    file.touch()
    os.truncate(file, 1 << 40)


def a_deep_one(file: Path) -> None:
    file.write_text('{"quantization": ' * 100_000)


@pytest.mark.parametrize("make", [a_fifo, a_device_without_end, a_terabyte, a_deep_one])
def test_what_stands_for_a_file_of_modelopt_is_not_waited_for(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    snapshot = in_the_cache(tmp_path, "org/new", 1024)
    make(snapshot / "hf_quant_config.json")
    assert with_files_beside({"hidden_size": 8}, snapshot) == {"hidden_size": 8}


@pytest.mark.parametrize("make", [a_fifo, a_device_without_end, a_terabyte])
def test_what_stands_for_a_reference_or_a_config_is_no_model(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    snapshot = in_the_cache(tmp_path, "org/new", 1024)
    reference = tmp_path / "hub" / "models--org--new" / "refs" / "main"
    reference.unlink()
    make(reference)
    assert directory_of("org/new", None, str(tmp_path)) is None
    assert cached_gib("org/new", None, str(tmp_path)) is None
    (snapshot / "config.json").unlink()
    make(snapshot / "config.json")
    if make is not a_terabyte:
        assert directory_of("org/new", COMMIT, str(tmp_path)) is None
