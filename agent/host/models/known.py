# SPDX-License-Identifier: Apache-2.0
"""What config.json of well-known models says, by their hub names: data of this package."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from agent.errors import HostLacksError
from agent.packaged import packaged

_AWQ: Mapping[str, Any] = {"quant_method": "awq", "by_name": True}
_GPTQ: Mapping[str, Any] = {"quant_method": "gptq", "by_name": True}

_FP8_CHANNELS: Mapping[str, Any] = {
    "group_0": {"weights": {"num_bits": 8, "type": "float", "strategy": "channel"}}
}

_FORMATS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    (r"w4a16(-g\d+)?(-ct)?|quantized\.w4a16|awq(-?(4bit|int4|w4a16))?", _AWQ),
    (r"gptq(-?int4|-4bit)?|int4(-autoround|-w4a16)?|autoround(-gptq)?(-4bit)?", _GPTQ),
    (r"gptq-?int8|gptq-8bit", {**_GPTQ, "bits": 8}),
    (r"w8a8|quantized\.w8a8|int8", {"quant_method": "fp8"}),
    (r"fp8-block", {"quant_method": "fp8", "weight_block_size": [128, 128]}),
    (r"fp8-dynamic", {"quant_method": "compressed-tensors", "config_groups": _FP8_CHANNELS}),
    (r"fp8", {"quant_method": "fp8"}),
    (r"unsloth-bnb-4bit", {"quant_method": "bitsandbytes", "dynamic": True}),
    (r"bnb-4bit", {"quant_method": "bitsandbytes"}),
    (r"awq-?(8bit|int8)", {**_AWQ, "bits": 8}),
    (r"(quantized\.)?w8a16", {**_GPTQ, "bits": 8}),
    (r"nvfp4(-(v\d+|qad|mtp|w4a4))?|fp4", {"quant_method": "modelopt_fp4", "by_name": True}),
)
"""How hub names end that tell a checkpoint's format; 8-bit integers take what fp8 takes.

`by_name`: nothing but the name tells the groups, so that what splits tear them is a doubt only."""


_HEADER = re.compile(r'^\["([^"\n]+)"\]$', re.MULTILINE)
_ALSO = re.compile(r"^also = \[(.*?)\]", re.MULTILINE | re.DOTALL)
_QUOTED = re.compile(r'"([^"]+)"')


class _Known(Mapping[str, Mapping[str, Any]]):
    """The tables of the file by name; each is parsed when it is asked for: all take 30 ms."""

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        headers = list(_HEADER.finditer(text))
        ends = [*(header.start() for header in headers[1:]), len(text)]
        self._texts = {
            header[1]: text[header.start() : end] for header, end in zip(headers, ends, strict=True)
        }
        self._owners: dict[str, str] = {}
        for owner, own in self._texts.items():
            also = _ALSO.search(own)
            names = _QUOTED.findall(also[1]) if also else []
            self._owners.update(dict.fromkeys((owner, *names), owner))

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        own = self._table(self._owners[name])
        base = self._table(own.get("like", ""))
        return {**self._table(base.get("like", "")), **base, **own}

    def __iter__(self) -> Iterator[str]:
        return iter(self._owners)

    def __len__(self) -> int:
        return len(self._owners)

    def _table(self, owner: str) -> Mapping[str, Any]:
        if owner not in self._texts:
            return {}
        try:
            table: Mapping[str, Any] = tomllib.loads(self._texts[owner])[owner]
        except (ValueError, KeyError) as error:
            raise HostLacksError(f"{self._file}: {error}; reinstall the package") from error
        return table


@cache
def known_models() -> Mapping[str, Mapping[str, Any]]:
    """Return config.json's numbers of well-known models by their hub names.

    Raises HostLacksError when the package's data cannot be read, as do its values.
    """
    file = packaged("models", "known.toml")
    try:
        known = _Known(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise HostLacksError(f"{file}: {error}; reinstall the package") from error
    if not known:
        raise HostLacksError(f"{file} holds no models; reinstall the package")
    return known


_BLOCKWISE = ("qwen/", "deepseek-ai/", "minimaxai/", "zai-org/glm-5", "xiaomimimo/")
"""Publishers whose FP8 checkpoints share a scale among 128 x 128 numbers; those of others have one
for a tensor or a channel."""


_SMALL_GROUPS = ("cyankiwi/", "cpatonn/", "google/")
"""Publishers whose 4-bit copies share a scale among 32 numbers (Google's are trained for Q4_0);
others among 128."""

_BOTH_GROUPS = ("cpatonn/",)
"""Publishers whose earlier copies have groups of 128: Qwen3-30B-A3B-Thinking-2507 printed 15.61 GiB
in August 2025, which is what it has with those."""

_SHARED = (("quanttrio/", "Glm4Moe"),)
"""Publishers and architectures whose AWQ copies keep shared experts in 16 bits (config.json of
QuantTrio's GLM-4.7)."""

_ALL_LINEAR = (
    *("LlamaForCausalLM", "MistralForCausalLM", "MixtralForCausalLM", "Qwen2ForCausalLM"),
    *("Qwen3ForCausalLM", "Qwen3MoeForCausalLM", "Phi3ForCausalLM", "Glm4MoeForCausalLM"),
)
"""Architectures of 2023 to 2025 whose NVFP4 copies have all linear layers in it but the output head
(ModelOpt's and llm-compressor's usual recipe; Llama-3.1-8B prints 5.65 GiB, GLM-4.7 188.4)."""

_PLAIN_ATTENTION = (("nvidia/", "Gemma4ForConditionalGeneration"),)
"""Publishers and architectures whose NVFP4 copies keep the attention in 16 bits, and the MLP beside
experts (Gemma-4-31B prints 31.04 GiB, Gemma-4-26B-A4B 17.89)."""


_ALL_BUT_HEAD = ("sakamakismile/",)
"""Publishers whose NVFP4 copies have all linear layers in it but the output head (Qwen3.6-27B's
text prints 17.62 GiB)."""

_COMPRESSORS = ("redhatai/",)
"""Publishers whose NVFP4 copies of hybrids keep recurrent layers and output head in 16 bits, as
llm-compressor's example does (Qwen3.6-35B-A3B prints 21.86 GiB)."""

_MIXED = (("nvidia/", "qwen3.6-"),)
"""Publishers and names whose NVFP4 copies have attention and recurrent layers in 8 bits, MLP,
experts and output head in 4 (Qwen3.6-27B prints 19.78 GiB)."""

_MIXED_BUT_HEAD = (("unsloth/", "qwen3.8-27b"),)
"""The same with the output head in 16 bits and scales for an FP8 cache (Qwen3.8-27B prints 22.13
GiB with the layer that drafts, 0.25)."""

_MIXED_MODULES: Mapping[str, Any] = {
    "*self_attn*": {"quant_algo": "FP8"},
    "*linear_attn*": {"quant_algo": "FP8"},
    "*.mlp.*": {"quant_algo": "W4A16_NVFP4"},
    "*.mlp.experts*": {"quant_algo": "W4A16_NVFP4"},
    "*.shared_expert.*": {"quant_algo": "W4A16_NVFP4"},
    "lm_head": {"quant_algo": "W4A16_NVFP4"},
}

_HYBRIDS = ("Qwen3_5", "Qwen3Next")
"""Architectures of which 4-bit copies leave a part in 16 bits: Qwen's own GPTQ attention, recurrent
layers and shared experts (Qwen3.5-35B-A3B prints 21.05 GiB), others' AWQ of those with experts the
recurrent layers and shared experts (cyankiwi's of Qwen3.5-122B-A10B prints 36.73 on two GPUs)."""

_ALL_ATTENTION: Mapping[str, Any] = {"-:.*attn.*": {}, "-:.*shared_expert.*": {}}
_STATES_ONLY = ["*linear_attn*", "*.shared_expert.*"]


def _as_published(
    name: str, quantization: Mapping[str, Any], table: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return the format of a name's ending with what its publisher is known to leave plain."""
    method, publisher = quantization["quant_method"], name.lower()
    if method == "awq" and publisher.startswith(_SMALL_GROUPS):
        quantization = {**quantization, "bits": 4, "group_size": 32}
        if publisher.startswith(_BOTH_GROUPS):
            quantization = {**quantization, "groups_vary": True}
    if quantization == {"quant_method": "fp8"} and publisher.startswith(_BLOCKWISE):
        return {**quantization, "weight_block_size": [128, 128]}
    named = str((table.get("architectures") or [""])[0])
    if named.startswith(_HYBRIDS):
        if publisher.startswith("qwen/") and "gptq" in publisher:
            return {**quantization, "dynamic": _ALL_ATTENTION}
        if method == "awq" and ("Moe" in named or "Next" in named):
            return {**quantization, "ignore": _STATES_ONLY}
    plain = any(publisher.startswith(owner) and named.startswith(kind) for owner, kind in _SHARED)
    if method == "awq" and plain:
        return {**quantization, "modules_to_not_convert": ["shared_experts", "lm_head"]}
    if method != "modelopt_fp4":
        return quantization
    if any(publisher.startswith(owner + name) for owner, name in _MIXED):
        return {"quant_method": "modelopt", "quantized_layers": _MIXED_MODULES}
    if any(publisher.startswith(owner + name) for owner, name in _MIXED_BUT_HEAD):
        inside = {part: how for part, how in _MIXED_MODULES.items() if part != "lm_head"}
        scales = {"kv_cache_quant_algo": "FP8"}
        return {"quant_method": "modelopt", "quantized_layers": inside, **scales}
    if any(publisher.startswith(owner) and named == kind for owner, kind in _PLAIN_ATTENTION):
        experts = table.get("text_config", {}).get("num_experts")
        return {**quantization, "ignore": ["*self_attn*", *(["*.mlp.*"] if experts else [])]}
    if publisher.startswith(_COMPRESSORS) and named.startswith(_HYBRIDS):
        return {**quantization, "ignore": ["*linear_attn*", "lm_head"]}
    linear = named in _ALL_LINEAR or publisher.startswith(_ALL_BUT_HEAD)
    return {**quantization, "ignore": ["lm_head"]} if linear else quantization


def usual_copy(architecture: str, quantization: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a format with what copies of this architecture usually leave plain."""
    if not quantization:
        return quantization
    return _as_published("", quantization, {"architectures": [architecture]})


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


_TUNED = re.compile(
    r"(.+?)[-_](?:base|text|pt|it|instruct|chat|hf|bf16|fp16|abliterated|heretic"
    r"|qat|q4_0|unquantized|mtp)"
)
_USUAL = ("-instruct", "-it", "-chat")
"""Endings of names that tell how a model was tuned, not what it is made of."""


def _same_shape(bare: str, by_name: Mapping[str, str]) -> str | None:
    """Return the known model of this name, or of its sister that was tuned otherwise."""
    shorter: str | None = bare
    while shorter:
        for ending in ("", *_USUAL):
            if shorter + ending in by_name:
                return by_name[shorter + ending]
        found = _TUNED.fullmatch(shorter)
        shorter = found[1] if found else None
    return None


def known_config(name: str) -> Mapping[str, Any] | None:
    """Return the numbers of this model, or of the one that it is a quantized copy of."""
    exact = known_models().get(name)
    if exact is not None:
        return exact
    bare = name.rpartition("/")[2].lower()
    by_name = {known.rpartition("/")[2].lower(): known for known in known_models()}
    same = _same_shape(bare, by_name)
    if same is not None:
        return known_models()[same]
    for ending, quantization in _FORMATS:
        found = re.fullmatch(rf"(.+?)[-_.](?:{ending})", bare)
        known = _same_shape(found[1], by_name) if found else None
        if known is not None:
            table = known_models()[known]
            return {**table, "quantization_config": _as_published(name, quantization, table)}
    return None
