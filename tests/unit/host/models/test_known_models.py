# SPDX-License-Identifier: Apache-2.0
"""The file of well-known models, of which a table is parsed when it is asked for."""

import tomllib
from importlib import resources
from typing import Any

import pytest

from agent.core.planner.model import model_of
from agent.core.planner.plan import make_plan
from agent.core.planner.question import PlanRequest
from agent.core.planner.terms.formats import format_of
from agent.host.models.known import known_config, known_models


def test_tables_parsed_one_by_one_are_those_of_the_whole_file() -> None:
    text = (resources.files("agent.models") / "known.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    whole = {}
    for key, own in tables.items():
        base = tables.get(own.get("like", ""), {})
        table = {**tables.get(base.get("like", ""), {}), **base, **own}
        whole.update(dict.fromkeys((key, *own.get("also", ())), table))
    assert dict(known_models()) == whole


def test_a_name_without_its_publisher_is_known_too() -> None:
    assert known_config("somebody/Llama-3.1-8B-Instruct") is not None
    assert known_config("nobody/nothing") is None


def test_a_sister_that_was_tuned_otherwise_has_the_same_numbers() -> None:
    assert known_config("somebody/Qwen3-8B-abliterated") == known_config("Qwen/Qwen3-8B")
    assert known_config("Qwen/Qwen3.5-4B-Base") == known_config("Qwen/Qwen3.5-4B")
    assert known_config("somebody/Qwen2.5-7B-chat") is not None
    assert known_config("google/gemma-4-E4B-it-qat-q4_0-unquantized") is not None
    assert known_config("somebody/nothing-base") is None


def test_an_embedder_is_pooled_and_a_reranker_is_made_one_by_options() -> None:
    embedder, reranker = known_config("Qwen/Qwen3-Embedding-4B"), known_config("Qwen3-Reranker-4B")
    assert embedder is not None
    assert reranker is not None
    assert model_of(embedder).pools
    assert not model_of(reranker).pools
    assert model_of({**reranker, "architectures": ["Qwen3ForSequenceClassification"]}).pools


def test_google_s_trained_4_bit_copies_share_a_scale_among_32_numbers() -> None:
    config = known_config("google/gemma-4-E4B-it-qat-w4a16-ct")
    assert config is not None
    assert config["quantization_config"]["group_size"] == 32


def test_a_publishers_copies_differ_as_its_config_json_says() -> None:
    def formats(name: str) -> Any:
        config = known_config(name)
        assert config is not None
        return config["quantization_config"]

    assert formats("cpatonn/Qwen3-Coder-30B-A3B-Instruct-AWQ-4bit")["group_size"] == 32
    assert "group_size" not in formats("somebody/Qwen3-Coder-30B-A3B-Instruct-AWQ-4bit")
    assert "shared_experts" in formats("QuantTrio/GLM-4.7-AWQ")["modules_to_not_convert"]
    assert "modules_to_not_convert" not in formats("somebody/GLM-4.7-AWQ")
    assert formats("RedHatAI/Qwen3.8-27B-INT4")["quant_method"] == "gptq"


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("RedHatAI/Qwen3.6-35B-A3B-NVFP4", 21.86),
        ("sakamakismile/Qwen3.6-27B-Text-NVFP4-MTP", 17.62 + 0.77),
        ("unsloth/Qwen3.8-27B-NVFP4", 22.13 - 0.79),
    ],
)
def test_a_publishers_nvfp4_of_a_hybrid_weighs_what_vllm_printed(name: str, printed: float) -> None:
    """The second was loaded without its encoder, which is planned here."""
    config = known_config(name)
    assert config is not None
    weights = make_plan(model_of(config), PlanRequest(31.84)).weights
    assert weights.gib == pytest.approx(printed, rel=0.01)


def test_awq_of_a_hybrid_with_experts_leaves_its_recurrent_layers_in_16_bits() -> None:
    config = known_config("cyankiwi/Qwen3.5-122B-A10B-AWQ-4bit")
    assert config is not None
    on_two = PlanRequest(44.4, tensor_parallel_size=2)
    # Printed: 36.73 GiB.
    assert make_plan(model_of(config), on_two).weights.gib == pytest.approx(36.73, rel=0.01)


@pytest.mark.parametrize(
    ("name", "bits"),
    [("nvidia/Qwen3-32B-NVFP4-v2", 4.5), ("a/Qwen3-32B-AWQ-8bit", 8.2), ("a/Qwen3-32B-w8a16", 8.2)],
)
def test_how_a_name_ends_tells_the_format(name: str, bits: float) -> None:
    config = known_config(name)
    assert config is not None
    assert format_of(model_of(config), None).bits == pytest.approx(bits, abs=0.05)
