# SPDX-License-Identifier: Apache-2.0
"""Recipes in the form of vLLM's own collection, as tables for agent.toml."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from agent.cli.main import main
from agent.core.settings.recipe import (
    NoRecipeError,
    chosen_variant,
    is_for,
    line_for,
    recipe_of,
    runs_here,
)

RECIPE = """\
meta:
  title: Qwen3 32B
  description: a dense model that thinks
  hardware: {h100: verified, mi300x: untested}
model:
  model_id: Qwen/Qwen3-32B
  min_vllm_version: "0.9.0"
  base_args: [--trust-remote-code]
  base_env: {VLLM_LOGGING_LEVEL: INFO}
features:
  reasoning: {args: [--reasoning-parser, qwen3]}
  longer: {args: [--max-model-len, "131072"]}
opt_in_features: [longer]
variants:
  default: {precision: bf16, vram_minimum_gb: 80, description: in 16 bits}
  fp8:
    model_id: Qwen/Qwen3-32B-FP8
    precision: fp8
    extra_args: [--max-num-seqs, 64]
    hardware_overrides:
      rtx_5090:
        extra_args: [--max-num-seqs, "8", --max-model-len, "8192"]
        extra_env: {VLLM_USE_DEEP_GEMM: "0"}
  other_make: {model_id: somebody/Qwen3-32B-W8A8, supported_hardware: [ascend_950dt]}
hardware_overrides:
  hopper: {extra_args: [--kv-cache-dtype, fp8]}
strategy_overrides: {}
"""


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    models = tmp_path / "models" / "Qwen"
    models.mkdir(parents=True)
    (models / "Qwen3-32B.yaml").write_text(RECIPE)
    (tmp_path / "models" / "index.yaml").write_text("owners: [Qwen]\n")
    return tmp_path


def _document() -> dict[str, Any]:
    import yaml

    document: dict[str, Any] = yaml.safe_load(RECIPE)
    return document


@pytest.mark.parametrize(
    ("key", "card", "capability", "is_its"),
    [
        ("rtx_5090", "GeForce RTX 5090", (12, 0), True),
        ("rtx_pro_6000", "RTX PRO 6000 Blackwell", (12, 0), True),
        ("dgx_spark_gb10", "GB10", (12, 1), True),
        ("h100", "H100 80GB HBM3", (9, 0), True),
        ("hopper", "H200", (9, 0), True),
        ("blackwell", "B200", (10, 0), True),
        ("ada", "L40S", (8, 9), True),
        ("ampere", "L40S", (8, 9), False),
        ("gb200", "B200", (10, 0), False),
        ("rtx_6000_ada", "RTX PRO 6000 Blackwell", (12, 0), False),
        ("rtx", "GeForce RTX 5090", (12, 0), False),
        ("hopper", "H100 80GB HBM3", None, False),
    ],
)
def test_a_key_of_a_recipe_is_that_of_a_card(
    key: str, card: str, capability: tuple[int, int] | None, *, is_its: bool
) -> None:
    assert is_for(key, card, capability) is is_its


def test_a_card_s_own_options_stand_behind_those_of_the_checkpoint() -> None:
    recipe = recipe_of(_document())
    variant = chosen_variant(recipe, "fp8")
    assert variant is not None
    line = line_for(variant, "GeForce RTX 5090", (12, 0), 2)
    assert line.words == (
        *("Qwen/Qwen3-32B-FP8", "--trust-remote-code", "--reasoning-parser", "qwen3"),
        *("--max-num-seqs", "64", "--max-num-seqs", "8", "--max-model-len", "8192"),
        *("--tensor-parallel-size", "2"),
    )
    assert line.environment == {"VLLM_LOGGING_LEVEL": "INFO", "VLLM_USE_DEEP_GEMM": "0"}
    assert line_for(variant, "H100 80GB HBM3", (9, 0)).words[-2:] == ("--kv-cache-dtype", "fp8")
    assert recipe.features == {"longer": ("--max-model-len", "131072")}
    assert recipe.verified == ("h100",)


def test_a_variant_for_other_makes_does_not_run_here() -> None:
    recipe = recipe_of(_document())
    assert not runs_here(recipe.variants["other_make"], "H200", (9, 0))
    assert runs_here(recipe.variants["fp8"], "H200", (9, 0))


@pytest.mark.parametrize(
    "document",
    [
        *({}, {"model": {"model_id": "a/b"}}, {"variants": {"a": {}}}),
        {"model": {"model_id": "a/b"}, "variants": {"default": 3}},
    ],
)
def test_what_names_no_model_or_no_variant_is_no_recipe(document: dict[str, Any]) -> None:
    with pytest.raises(NoRecipeError, match="model_id or no variants"):
        recipe_of(document)


def test_the_list_has_every_checkpoint_for_these_cards(
    collection: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profiles", "--recipes", str(collection), "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in shown["recipes"]] == ["Qwen/Qwen3-32B", "Qwen/Qwen3-32B:fp8"]
    assert shown["broken"] == []


def test_a_recipe_is_printed_as_a_table_with_its_plan_on_the_card(
    collection: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["profiles", "--recipes", str(collection), "Qwen/Qwen3-32B-FP8", "--gpu", "rtx5090"]
    assert main(asked) == 0
    text = capsys.readouterr().out
    assert "[service.Qwen3-32B-FP8]" in text
    assert "max_num_seqs = 8\n" in text
    # 32 GB of weights do not fit one card of 32 GB: two are taken.
    assert "tensor_parallel_size = 2\n" in text
    assert "# plan on GeForce RTX 5090: fits: " in text
    assert "# may be added: longer: --max-model-len 131072" in text
    assert "# vLLM's own recipe, for vLLM 0.9.0 or later\n# verified by its authors on h100" in text
    assert "host" not in text
    assert main([*asked, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"]["verdict"] == "fits"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["Qwen/Qwen3-32"], "no recipe is for Qwen/Qwen3-32; did you mean Qwen/Qwen3-32B?"),
        (["Qwen/Qwen3-32B:int4"], "has no variant int4; there are: default, fp8, other_make"),
        (["Qwen3-32B:other_make", "--gpu", "L4"], "is for ascend_950dt, not for L4"),
        (["Qwen3-32B", "--gpu", "L5"], "no card called 'L5' is known"),
    ],
)
def test_a_mistake_is_named(
    collection: Path, capsys: pytest.CaptureFixture[str], asked: list[str], told: str
) -> None:
    assert main(["profiles", "--recipes", str(collection), *asked]) == 2
    assert told in capsys.readouterr().err


def test_a_directory_without_recipes_and_a_broken_one_are_told(
    tmp_path: Path, collection: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["profiles", "--recipes", str(empty)]) == 2
    assert "vllm-project/recipes" in capsys.readouterr().err
    (collection / "models" / "bomb.yaml").write_text(
        "a: &a {x: 1}\nb: &b {<<: [*a, *a]}\nmodel: {<<: [*b, *b]}\n"
    )
    (collection / "models" / "tagged.yaml").write_text(
        "a: &a {x: 1}\nb: &b {!!merge y: [*a, *a]}\nmodel: {!!merge y: [*b, *b]}\n"
    )
    (collection / "models" / "half.yaml").write_text("model: {model_id: [")
    (collection / "models" / "long.yaml").write_text("#" * 300_000)
    os.mkfifo(collection / "models" / "pipe.yaml")
    (collection / "models" / "loop.yaml").symlink_to("loop.yaml")
    assert main(["profiles", "--recipes", str(collection)]) == 0
    told = capsys.readouterr().err
    assert "bomb.yaml: uses too many aliases" in told
    assert "tagged.yaml: uses too many aliases" in told
    assert "half.yaml: is not YAML" in told
    assert "long.yaml: is larger than 256 KiB" in told
    assert "pipe.yaml: is no regular file" in told
    assert "loop.yaml: is no regular file" in told


def test_a_list_of_recipes_prints_no_control_character(
    collection: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = 'model: {model_id: "a/b"}\nmeta: {description: "\\e[31mred"}\nvariants: {default: {}}\n'
    (collection / "models" / "odd.yaml").write_text(odd)
    (collection / "models" / "half\x1b[2J.yaml").write_text("model: {model_id: [")
    assert main(["profiles", "--recipes", str(collection)]) == 0
    shown = capsys.readouterr()
    assert "?[31mred" in shown.out
    assert "half?[2J.yaml: is not YAML" in shown.err
    assert "\x1b" not in shown.out + shown.err


def test_what_two_cards_share_is_read(collection: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = collection / "models" / "Qwen" / "Qwen3-32B.yaml"
    shared = "      rtx_5090: &small\n"
    text = RECIPE.replace("      rtx_5090:\n", shared)
    text = text.replace("  hopper: {extra_args", "  l40s: *small\n  hopper: {extra_args")
    file.write_text(text)
    asked = ["profiles", "--recipes", str(collection), "Qwen/Qwen3-32B", "--gpu", "L40S"]
    assert main([*asked, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["max_num_seqs"] == 8


def test_what_no_table_can_say_and_what_cannot_be_planned_is_said(
    collection: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "model: {model_id: a/odd, base_args: [--port, zzz]}\nvariants: {default: {}}\n"
    (collection / "models" / "odd.yaml").write_text(text)
    asked = ["profiles", "--recipes", str(collection), "a/odd"]
    assert main(asked) == 0
    text = capsys.readouterr().out
    assert "# vLLM's own recipe, for any vLLM\n" in text
    assert "# left out: the command line: --port: 'zzz' is not a whole number" in text
    assert "# plan: with --gpu NAME" in text
    assert main([*asked, "--gpu", "L4"]) == 0
    assert "# plan: a/odd is not known by its name; plan its folder" in capsys.readouterr().out


def test_a_card_is_for_recipes_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profiles", "--gpu", "L4"]) == 2
    assert "--gpu is for --recipes" in capsys.readouterr().err
