# SPDX-License-Identifier: Apache-2.0
"""A model as the planner needs it, read from its config.json (transformers 4.40..5)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from agent.core.engine.names import dtype_bytes
from agent.core.planner.attention import Latent, latent_of
from agent.core.planner.config_keys import (
    NotAModelError,
    bounded,
    count_of_layers,
    kind_of,
    need,
    number,
    part,
)
from agent.core.planner.encoder import (
    Encoder,
    encoder_of,
    encoder_parameters,
    has_encoder,
    whole_item,
)
from agent.core.planner.experts import Experts, experts_of
from agent.core.planner.families import (
    TIED_UNSAID,
    is_encoder_only,
    is_gated,
    is_known,
    is_pooled,
)
from agent.core.planner.layers import Layer, layers_of
from agent.core.record import dataclass

EXPERT_FP4_BITS = 4.25
"""A 4-bit float and an 8-bit scale for 32 of them."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model by its config.json; sizes are numbers of elements."""

    architecture: str
    layers: tuple[Layer, ...]
    hidden_size: int
    intermediate_size: int
    heads: int
    head_dim: int
    vocab_size: int
    max_position: int
    dtype_bytes: int = 2
    """Of the checkpoint's unquantized tensors."""

    tied_embeddings: bool = False
    gated_mlp: bool = True
    gated_attention: bool = False
    rotary_dim: int = 128
    experts: Experts | None = None
    expert_bits: float = 0.0
    """Those of an expert's number where experts have a format of their own, else 0."""

    latent: Latent | None = None
    encodes: bool = False
    """An image or audio encoder belongs to it, which is profiled too and dwarfs the text's
    activation."""

    encoder_parameters: int = 0
    """That encoder's."""

    encoder: Encoder | None = None
    whole_item: int = 0
    """Tokens of the largest image or video where one step computes all of it, else 0."""

    encoder_only: bool = False
    pools: bool = False
    """What it makes of a text is pooled: nothing is sampled, and there is no output head."""

    side_parameters: int = 0
    """Embeddings of every layer (Gemma 3n and 4)."""

    known: bool = True
    """False for a family whose layers may be laid out otherwise than they are counted."""

    mtp_layers: int = 0
    """Those that draft, beside `layers`."""

    quantization_config: Mapping[str, Any] = field(default_factory=dict)
    """The checkpoint's own, as config.json has it."""


_SIZES = (
    *(("bits", 1, 64), ("w_bit", 1, 64), ("num_bits", 1, 64)),
    *(("group_size", -1, 1 << 20), ("q_group_size", -1, 1 << 20)),
)
"""Numbers of quantization_config with the least and the most that they can be."""


def model_of(config: Mapping[str, Any]) -> Model:
    """Read the parsed config.json of a transformers model.

    Raises NotAModelError when a number is missing that nothing can stand in for, or is none, and
    whatever else the object holds: anybody may have written it.
    """
    try:
        return _read(bounded(config))
    except NotAModelError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        why = str(error)[:200]
        raise NotAModelError(f"config.json is not a model's as it stands: {why}") from error


def _read(config: Mapping[str, Any]) -> Model:
    text = _text_part(config)
    kind = kind_of(text)
    hidden = need(text, "hidden_size", "n_embd", "d_model")
    heads = number(text, "num_attention_heads", "n_head", "n_heads", "num_heads") or 1
    head_dim = number(text, "head_dim", "kv_channels", "attention_head_dim") or hidden // heads
    if count_of_layers(text) == 0 and not text.get("hybrid_override_pattern"):
        need(text, "num_hidden_layers")
    layers = layers_of(text, hidden, heads, head_dim)
    if not layers:
        raise NotAModelError("config.json has no layers: is it a language model's?")
    tied = config.get("tie_word_embeddings", text.get("tie_word_embeddings"))
    architectures = config.get("architectures")
    named = architectures[0] if isinstance(architectures, list) and architectures else kind
    pools = is_pooled(config)
    tied = kind.startswith(TIED_UNSAID) if tied is None else bool(tied)
    return Model(
        architecture=str(named or "unknown"),
        layers=layers,
        hidden_size=hidden,
        intermediate_size=_intermediate(text, hidden),
        heads=heads,
        head_dim=head_dim,
        vocab_size=need(text, "vocab_size", "padded_vocab_size"),
        max_position=_longest(text),
        dtype_bytes=_dtype_bytes(config, text),
        tied_embeddings=tied or pools,
        gated_mlp=is_gated(text),
        gated_attention=_gates_attention(text, kind),
        rotary_dim=int(head_dim * float(text.get("partial_rotary_factor") or 1.0)),
        experts=experts_of(text),
        expert_bits=_expert_bits(text, kind),
        latent=latent_of(text),
        encodes=has_encoder(config),
        encoder_parameters=encoder_parameters(config, hidden),
        encoder=encoder_of(config, hidden),
        whole_item=whole_item(config, text),
        encoder_only=is_encoder_only(config, text),
        pools=pools,
        side_parameters=_side_parameters(text, hidden),
        known=is_known(config, text),
        mtp_layers=number(text, "num_nextn_predict_layers", "mtp_num_hidden_layers") or 0,
        quantization_config=_quantization(config, text),
    )


def _intermediate(text: Mapping[str, Any], hidden: int) -> int:
    wide = number(
        text,
        *("intermediate_size_mlp", "dense_intermediate_size", "intermediate_size"),
        *("n_inner", "ffn_dim", "ffn_hidden_size"),
    )
    if kind_of(text).startswith("granitemoehybrid") and not number(text, "num_local_experts"):
        wide = number(text, "shared_intermediate_size") or wide
    if wide is not None and text.get("block_auto_adjust_ff_dim"):
        # LFM2: two thirds, rounded up to a multiple.
        step = number(text, "block_multiple_of") or 256
        return math.ceil(2 * wide // 3 / step) * step
    ratio = text.get("expansion_ratio")
    return wide or int(ratio * hidden if isinstance(ratio, int | float) else 4 * hidden)


def _longest(text: Mapping[str, Any]) -> int:
    """Return the tokens that the model was made for; static YaRN lengthens what is written."""
    names = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
    longest = number(text, *names, "model_max_length", "max_sequence_length") or 2048
    scaling = part(text, "rope_scaling")
    if str(scaling.get("rope_type") or scaling.get("type") or "") == "yarn":
        original = number(scaling, "original_max_position_embeddings")
        factor = scaling.get("factor")
        if original and isinstance(factor, int | float):
            return max(longest, int(original * factor))
    return longest


def _dtype_bytes(config: Mapping[str, Any], text: Mapping[str, Any]) -> int:
    for where in (text, config):
        for name in ("dtype", "torch_dtype"):
            value = where.get(name)
            if isinstance(value, str):
                # vLLM's dtype "auto" loads 32-bit checkpoints in 16 bits.
                return min(dtype_bytes(value) or 2, 2)
    return 2


def _expert_bits(text: Mapping[str, Any], kind: str) -> float:
    """Return the bits of an expert's number where they are not the checkpoint's own.

    DeepSeek-V4's experts are in 4-bit floats unless its file says otherwise (`expert_dtype`).
    """
    stated = str(text.get("expert_dtype") or ("fp4" if kind.startswith("deepseek_v4") else ""))
    return EXPERT_FP4_BITS if "fp4" in stated.lower() else 0.0


def _gates_attention(text: Mapping[str, Any], kind: str) -> bool:
    gate = text.get("attn_output_gate")
    return kind.startswith("qwen3_next") if gate is None else bool(gate)


def _side_parameters(text: Mapping[str, Any], hidden: int) -> int:
    width = number(text, "hidden_size_per_layer_input")
    if width is None:
        return 0
    layers = count_of_layers(text)
    rows = number(text, "vocab_size_per_layer_input") or need(text, "vocab_size")
    inputs = (number(text, "altup_num_inputs") or 1) - 1
    mixed = 2 * inputs * hidden * hidden + 2 * layers * hidden * (number(text, "laurel_rank") or 0)
    return rows * layers * width + hidden * layers * width + 2 * layers * hidden * width + mixed


def _text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in ("text_config", "llm_config", "language_config", "thinker_config"):
        inside = config.get(name)
        if isinstance(inside, Mapping):
            return _text_part({**config, **inside, name: None})
    return config


def _quantization(config: Mapping[str, Any], text: Mapping[str, Any]) -> Mapping[str, Any]:
    for where in (config, text):
        for name in ("quantization_config", "compression_config"):
            found = where.get(name)
            if isinstance(found, Mapping):
                groups = found.get("config_groups")
                first = next(iter(groups.values()), None) if isinstance(groups, Mapping) else None
                for sizes in (found, part(first or {}, "weights")):
                    _check_sizes(sizes)
                return found
    return {}


def _check_sizes(table: Mapping[str, Any]) -> None:
    """Raise NotAModelError unless what is counted with is a number, or not said."""
    for name, least, most in _SIZES:
        value = table.get(name)
        said = value if value or value is None else None
        if said is None or (isinstance(said, int) and least <= said <= most):
            continue
        raise NotAModelError(f"config.json: quantization_config.{name} is no number of {least}..")
