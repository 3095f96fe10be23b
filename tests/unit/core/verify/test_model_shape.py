# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.verify.model_shape import ModelShape, sees, shape_of
from agent.host.models.config import read_model_config
from agent.host.models.known import known_config

LLAMA_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_hidden_layers": 32,
    "vocab_size": 128256,
    "torch_dtype": "bfloat16",
}
NEWEST, PINNED = "a" * 40, "b" * 40


def test_llama_has_grouped_heads_of_hidden_over_heads() -> None:
    assert shape_of(LLAMA_8B) == ModelShape(32, 8, 128, 2)


def test_head_dim_is_taken_where_it_is_given() -> None:
    """A checkpoint of 32 bits is loaded in 16."""
    shape = shape_of({**LLAMA_8B, "head_dim": 64, "dtype": "float32"})
    assert shape == ModelShape(32, 8, 64, 2)


def test_the_text_part_of_a_multimodal_model_counts() -> None:
    nested = {"model_type": "gemma3", "hidden_size": 1, "text_config": LLAMA_8B}
    assert shape_of(nested) == ModelShape(32, 8, 128, 2)


@pytest.mark.parametrize(
    "extra",
    [
        {"sliding_window": 4096},
        {"model_type": "deepseek_v3", "kv_lora_rank": 512},
        {"layer_types": ["full_attention", "sliding_attention"] * 16, "sliding_window": 1024},
        {"layers_block_type": ["mamba", "attention"] * 16},
        {"num_kv_shared_layers": 15},
        {"model_type": "newcomer"},
    ],
)
def test_layers_that_keep_something_else_make_a_model_not_uniform(extra: dict[str, object]) -> None:
    shape = shape_of({**LLAMA_8B, **extra})
    assert shape is not None
    assert not shape.uniform


@pytest.mark.parametrize(
    "extra",
    [
        {"sliding_window": None},
        {"sliding_window": 4096, "use_sliding_window": False},
        {"layer_types": ["full_attention"] * 32},
    ],
)
def test_a_window_that_is_not_used_changes_nothing(extra: dict[str, object]) -> None:
    shape = shape_of({**LLAMA_8B, **extra})
    assert shape is not None
    assert shape.uniform


@pytest.mark.parametrize(
    "name",
    [
        "microsoft/Phi-3-mini-128k-instruct",
        "microsoft/Phi-3.5-mini-instruct",
        "microsoft/Phi-3-medium-128k-instruct",
        "microsoft/Phi-4-mini-instruct",
        "mistralai/Ministral-8B-Instruct-2410",
    ],
)
def test_a_window_longer_than_the_context_leaves_a_model_comparable(name: str) -> None:
    config = known_config(name)
    assert config is not None, name
    shape = shape_of(config)
    assert shape is not None
    assert shape.uniform


@given(
    st.dictionaries(
        st.sampled_from([*LLAMA_8B, "text_config", "layer_types", "head_dim"]),
        st.none() | st.booleans() | st.integers() | st.text() | st.just({}) | st.just([1]),
    )
)
def test_a_config_of_any_content_is_read_or_refused(config: dict[str, object]) -> None:
    shape = shape_of(config)
    assert shape is None or min(shape.layers, shape.kv_heads, shape.dtype_bytes) > 0


def test_the_config_of_a_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_8B))
    assert read_model_config(str(tmp_path), None, "/nowhere") == LLAMA_8B


def test_the_config_in_the_hubs_cache_is_that_of_the_revision(tmp_path: Path) -> None:
    cached = tmp_path / "hub" / "models--org--llama"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(NEWEST)
    for commit, layers in ((NEWEST, 32), (PINNED, 16)):
        (cached / "snapshots" / commit).mkdir(parents=True)
        config = {**LLAMA_8B, "num_hidden_layers": layers}
        (cached / "snapshots" / commit / "config.json").write_text(json.dumps(config))
    newest = read_model_config("org/llama", None, str(tmp_path))
    pinned = read_model_config("org/llama", PINNED, str(tmp_path))
    assert newest is not None
    assert pinned is not None
    assert (newest["num_hidden_layers"], pinned["num_hidden_layers"]) == (32, 16)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000])
def test_a_broken_config_is_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert read_model_config(str(tmp_path), None, "/nowhere") is None
    assert read_model_config("org/none", None, str(tmp_path)) is None


@pytest.mark.parametrize(
    ("config", "takes_pictures"),
    [
        (LLAMA_8B, False),
        ({**LLAMA_8B, "vision_config": {}}, True),
        ({"thinker_config": {"vision_config": {}}}, True),
        ({"text_config": LLAMA_8B, "image_token_index": 7}, True),
        ({"img_processor": {}}, True),
        ({"thinker_config": "none"}, False),
        (None, False),
    ],
)
def test_a_model_takes_pictures_by_its_config(
    config: dict[str, object] | None, takes_pictures: bool
) -> None:
    assert sees(config) is takes_pictures
