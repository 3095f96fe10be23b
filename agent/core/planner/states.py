# SPDX-License-Identifier: Apache-2.0
"""What recurrent layers keep of a request and how many parameters they have.

Shapes as in mamba_utils of vLLM 0.10..0.32: the state takes the model's dtype unless config.json
names another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.core.planner.config_keys import kind_of, number, part
from agent.core.record import dataclass


@dataclass(frozen=True, slots=True)
class State:
    """Elements of one request's state and convolution window, and the mixer's parameters."""

    elements: int
    conv_elements: int
    bytes: int
    weights: int


def state_of(text: Mapping[str, Any], hidden: int, heads: int, head_dim: int) -> State:
    """Return the state of a recurrent layer of this model."""
    stated = str(text.get("mamba_ssm_dtype") or text.get("mamba_ssm_cache_dtype") or "bfloat16")
    wide = 4 if "32" in stated else 2
    delta = part(text, "linear_attn_config")
    if number(text, "conv_L_cache"):
        return State(0, hidden * (int(text["conv_L_cache"]) - 1), wide, 4 * hidden * hidden)
    if number(text, "linear_num_value_heads"):
        return _gated_delta_net(text, hidden, wide)
    if delta or number(text, "linear_num_heads"):
        return _delta_attention(delta or text, hidden, heads)
    if kind_of(text).startswith("minimax"):
        inner = heads * head_dim
        return State(inner * head_dim, 0, 2, 5 * hidden * inner)
    if number(text, "mamba_num_heads", "mamba_n_heads", "n_mamba_heads") or "mamba2" in kind_of(
        text
    ):
        return _mamba2(text, hidden, wide)
    return _mamba1(text, hidden, wide)


def _gated_delta_net(text: Mapping[str, Any], hidden: int, wide: int) -> State:
    """Qwen3-Next, Qwen3.5, OLMo hybrid."""
    value_heads, key_width = int(text["linear_num_value_heads"]), int(text["linear_key_head_dim"])
    keys = int(text["linear_num_key_heads"]) * key_width
    values = value_heads * int(text["linear_value_head_dim"])
    kernel = number(text, "linear_conv_kernel_dim") or 4
    return State(
        elements=key_width * values,
        conv_elements=(2 * keys + values) * (kernel - 1),
        bytes=wide,
        weights=hidden * (2 * keys + 2 * values + 2 * value_heads) + values * hidden,
    )


def _delta_attention(text: Mapping[str, Any], hidden: int, heads: int) -> State:
    """Kimi delta attention; its state is always of 32 bits."""
    count = number(text, "num_heads", "linear_num_heads") or heads
    width = number(text, "head_dim", "linear_head_dim") or 128
    kernel = number(text, "short_conv_kernel_size", "linear_conv_kernel_dim") or 4
    inner = count * width
    low_rank = 2 * (hidden * width + width * inner)
    return State(
        elements=inner * width,
        conv_elements=3 * inner * (kernel - 1),
        bytes=4,
        weights=4 * hidden * inner + low_rank + hidden * count,
    )


def _mamba2(text: Mapping[str, Any], hidden: int, wide: int) -> State:
    heads = number(text, "mamba_num_heads", "mamba_n_heads", "n_mamba_heads", "num_heads") or 1
    width = number(text, "mamba_head_dim", "mamba_d_head", "mamba_headdim")
    expand = number(text, "mamba_expand", "expand") or 2
    inner = number(text, "mamba_d_ssm") or heads * (width or expand * hidden // heads)
    size = number(text, "ssm_state_size", "mamba_d_state", "state_size") or 128
    groups = number(text, "n_groups", "mamba_n_groups", "mamba_ngroups") or 1
    kernel = number(text, "conv_kernel", "mamba_d_conv") or 4
    return State(
        elements=inner * size,
        conv_elements=(inner + 2 * groups * size) * (kernel - 1),
        bytes=wide,
        weights=hidden * (2 * inner + 2 * groups * size + heads) + inner * hidden,
    )


def _mamba1(text: Mapping[str, Any], hidden: int, wide: int) -> State:
    expand = number(text, "mamba_expand", "expand") or 2
    pure = "mamba" in kind_of(text)
    inner = (number(text, "intermediate_size") if pure else None) or expand * hidden
    size = number(text, "mamba_d_state", "state_size") or 16
    rank = number(text, "mamba_dt_rank", "time_step_rank") or -(-hidden // 16)
    kernel = number(text, "mamba_d_conv", "conv_kernel") or 4
    return State(
        elements=inner * size,
        conv_elements=inner * (kernel - 1),
        bytes=wide,
        weights=3 * hidden * inner + inner * (2 * rank + 3 * size),
    )
