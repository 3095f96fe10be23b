# SPDX-License-Identifier: Apache-2.0
"""Which families of models the arithmetic was held against, and how a few of them differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.core.planner.config_keys import count_of_layers, kind_of

TIED_UNSAID = (
    *("gemma", "opt", "gpt2", "gpt_bigcode", "bloom", "cohere", "falcon", "mpt", "mamba"),
    "starcoder2",
)
"""Families whose config.json leaves tie_word_embeddings out where it is true."""

UNGATED = (
    *("gpt2", "gpt_bigcode", "gpt_neo", "gptj", "opt", "bloom", "mpt", "falcon", "starcoder2"),
    *("nemotron", "apertus", "codegen", "persimmon", "arcee", "phi", "jais2"),
)
"""Families whose MLP has two matrices: no gate beside its activation."""

GATED_ALL_THE_SAME = ("phi3", "phi4", "phimoe", "falcon_h1", "falcon_mamba", "nemotron-nas")

KNOWN = (
    *("llama", "mistral", "mixtral", "ministral", "pixtral", "llava", "mllama", "qwen", "gemma"),
    *("phi", "deepseek", "glm", "chatglm", "gpt", "nemotron", "jamba", "mamba", "falcon"),
    *("granite", "bamba", "minimax", "kimi", "ernie", "cohere", "aya", "c4ai", "command", "olmo"),
    *("exaone", "internlm", "internvl", "baichuan", "opt", "bloom", "starcoder", "stablelm"),
    *("mpt", "dbrx", "minicpm", "hunyuan", "dots", "bailing", "lfm2", "smollm", "smolvlm"),
    *("seed_oss", "arcee", "afmoe", "apertus", "deci", "solar", "yi", "longcat", "mimo", "step3"),
    *("idefics3", "flexolmo", "helium", "xverse", "aquila", "orion", "persimmon", "qwq", "marin"),
    *("codegen", "pangu", "vaultgemma", "lighton", "h2ovl", "ovis", "voxtral", "mellum"),
)


NEW_KINDS = ("qwen4", "deepseek_v4", "gemma4_assist", "minimax_m3")
"""Families whose cache was held against no start: sparse indexers, compressed caches, n-grams."""

INDEXED, LONG_SIGHT = 4, 128
"""How many tokens DeepSeek-V4 puts into one latent, in layers that choose among latents with an
indexer and in those of long sight; V4.1 and others do so otherwise."""

WINDOW_ONLY = 0
"""The ratio of layers without latents."""

ENCODERS = (
    *("bert", "roberta", "xlm-roberta", "modernbert", "nomic_bert", "distilbert", "mpnet"),
    *("deberta", "electra", "camembert", "gte", "new", "eurobert", "neobert", "jina_bert"),
)
"""Families that read a text at once and keep no cache of it: embeddings, rerankers, classifiers."""


GATED_ENCODERS = frozenset({"modernbert", "nomic-bert", "gte", "new", "eurobert", "neobert"})


_POOLING = (
    *("EmbeddingModel", "ForTextEncoding", "ForSequenceClassification", "ForTokenClassification"),
    *("ClassificationModel", "RewardModel", "ForRewardModeling"),
)
"""How the names of architectures end that vLLM pools unasked (config/model.py of 0.11..0.33)."""


def is_pooled(config: Mapping[str, Any]) -> bool:
    """Tell whether vLLM pools what a model makes of a text, and samples nothing from it.

    `pools` is what the files beside config.json tell: modules.json of sentence-transformers.
    """
    named = config.get("architectures")
    first = str(named[0]) if isinstance(named, list) and named else ""
    return bool(config.get("pools")) or first.endswith(_POOLING)


def is_encoder_only(config: Mapping[str, Any], text: Mapping[str, Any]) -> bool:
    """Tell whether a model has no decoder: there is nothing to keep and nothing to sample."""
    if text.get("is_decoder") is True or config.get("is_encoder_decoder") is True:
        return False
    kind = kind_of(text).replace("_", "-")
    return any(kind == known.replace("_", "-") for known in ENCODERS)


def is_known(config: Mapping[str, Any], text: Mapping[str, Any]) -> bool:
    """Tell whether a model's layers are laid out in a way that was held against vLLM's own."""
    ratios = text.get("compress_ratios")
    if isinstance(ratios, list) and kind_of(text) == "deepseek_v4":
        each = len(ratios) >= count_of_layers(text)
        return each and set(ratios) <= {WINDOW_ONLY, INDEXED, LONG_SIGHT}
    if ratios:
        return False
    if kind_of(text).startswith(NEW_KINDS):
        return False
    if is_encoder_only(config, text):
        return True
    return kind_of(text).startswith(KNOWN) or kind_of(config).startswith(KNOWN)


def is_gated(text: Mapping[str, Any]) -> bool:
    """Tell whether an MLP has three matrices; squared ReLU and plain GELU have two."""
    kind = kind_of(text)
    if is_encoder_only(text, text):
        return kind.replace("_", "-") in GATED_ENCODERS
    return kind.startswith(GATED_ALL_THE_SAME) or not kind.startswith(UNGATED)
