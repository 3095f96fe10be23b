# SPDX-License-Identifier: Apache-2.0
"""What config.json of well-known models says, by their hub names: data of this package."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from agent.errors import HostLacksError

_AWQ: Mapping[str, Any] = {"quant_method": "awq", "by_name": True}
_GPTQ: Mapping[str, Any] = {"quant_method": "gptq", "by_name": True}

_FORMATS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    (r"w4a16(-g\d+)?|quantized\.w4a16|awq(-?(4bit|int4|w4a16))?", _AWQ),
    (r"gptq(-?int4|-4bit)?|int4-autoround|autoround(-gptq)?(-4bit)?", _GPTQ),
    (r"gptq-?int8|gptq-8bit", {**_GPTQ, "bits": 8}),
    (r"w8a8|quantized\.w8a8|int8", {"quant_method": "fp8"}),
    (r"fp8-block", {"quant_method": "fp8", "weight_block_size": [128, 128]}),
    (r"fp8(-dynamic)?", {"quant_method": "fp8"}),
    (r"(unsloth-)?bnb-4bit", {"quant_method": "bitsandbytes"}),
    (r"nvfp4|fp4", {"quant_method": "modelopt_fp4"}),
)
"""How hub names end that tell a checkpoint's format; 8-bit integers take what fp8 takes.

`by_name`: nothing but the name tells the groups, so that what splits tear them is a doubt only."""


@cache
def known_models() -> Mapping[str, Mapping[str, Any]]:
    """Return config.json's numbers of well-known models by their hub names.

    Raises HostLacksError when the package's data cannot be read.
    """
    file = resources.files("agent.models") / "known.toml"
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise HostLacksError(f"{file}: {error}; reinstall the package") from error
    named: dict[str, Mapping[str, Any]] = {}
    for key, own in tables.items():
        base = tables.get(own.get("like", ""), {})
        first = tables.get(base.get("like", ""), {})
        table = {**first, **base, **own}
        named.update(dict.fromkeys((key, *own.get("also", ())), table))
    return named


_BLOCKWISE = ("qwen/", "deepseek-ai/", "minimaxai/", "zai-org/glm-5", "xiaomimimo/")
"""Publishers whose FP8 checkpoints share a scale among 128 x 128 numbers; those of others have one
for a tensor or a channel."""


def _as_published(name: str, quantization: Mapping[str, Any]) -> Mapping[str, Any]:
    if quantization == {"quant_method": "fp8"} and name.lower().startswith(_BLOCKWISE):
        return {**quantization, "weight_block_size": [128, 128]}
    return quantization


_NO_LANGUAGE_MODELS = (
    (
        r"gguf",
        "is a repository of GGUF files: name one of its files that lies here, and the "
        "original model's config.json with --config-json",
    ),
    (
        r"whisper|distil-whisper|parakeet|canary",
        "recognises speech: plan reckons with language models",
    ),
    (
        r"stable-diffusion|sdxl|flux|wan2|qwen-image|hunyuanvideo",
        "makes images or videos: plan reckons with language models",
    ),
)
"""Words in hub names that tell why no config.json of a language model is to be had."""


def what_it_is(name: str) -> str:
    """Return why this cannot be planned by its name, "" where its name tells nothing."""
    for words, why in _NO_LANGUAGE_MODELS:
        if re.search(rf"(?:^|[-_./])(?:{words})(?:$|[-_./\d])", name.lower()):
            return f"{name}: {why}"
    return ""


def known_config(name: str) -> Mapping[str, Any] | None:
    """Return the numbers of this model, or of the one that it is a quantized copy of."""
    exact = known_models().get(name)
    if exact is not None:
        return exact
    bare = name.rpartition("/")[2].lower()
    by_name = {known.rpartition("/")[2].lower(): table for known, table in known_models().items()}
    if bare in by_name:
        return by_name[bare]
    for ending, quantization in _FORMATS:
        found = re.fullmatch(rf"(.+?)[-_.](?:{ending})", bare)
        table = by_name.get(found[1]) if found else None
        if table is not None:
            return {**table, "quantization_config": _as_published(name, quantization)}
    return None
