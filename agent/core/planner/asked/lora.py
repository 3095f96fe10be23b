# SPDX-License-Identifier: Apache-2.0
"""Room for LoRA adapters: vLLM takes it whole at the start, for `max_loras` of the largest rank.

Shapes as in lora/layers of vLLM 0.10..0.33: for each linear layer A of rank x inputs and B of
outputs x rank; inputs and outputs that the GPUs share are shared here, too; embeddings and output
head have theirs whole on each GPU.
"""

from __future__ import annotations

from agent.core.measures import GIB
from agent.core.planner.layers import Feed, Keeps, Layer
from agent.core.planner.model import Model
from agent.core.planner.overheads import Term

MOST_VOCABULARY = 258_048
"""Above this vLLM refuses LoRA on the output head (lora/layers/logits_processor.py, 0.33)."""

WITH_HEADS = (
    *("Apertus", "Exaone", "Falcon", "Granite", "HyperCLOVAX", "Jamba", "Lfm2", "Llama", "MiniCPM"),
    *("Mistral", "Mixtral", "Nemotron", "Phimoe", "PhiMoE", "Qwen3ForCausalLM", "Qwen3Moe"),
    "Solar",
)
"""How the architectures begin whose embeddings and output head take adapters, too: those that name
them (embedding_modules in model_executor/models of 0.11..0.32); Gemma and Qwen 2.5 do not."""


def room_for_adapters(
    model: Model, max_loras: int, rank: int, tensor_parallel_size: int, *, sharded: bool
) -> Term:
    """Return GiB of one GPU; `sharded` as with --fully-sharded-loras."""
    tp = tensor_parallel_size
    each = sum(_layer(model, layer, tp, sharded=sharded) for layer in model.layers)
    if has_heads(model):
        each += 2 * (model.vocab_size + model.hidden_size)
    gib = max_loras * rank * each * model.dtype_bytes / GIB
    # Latents, gates and states have layers that are not told apart here; graphs come twice.
    plain = all(layer.keeps in (Keeps.TOKENS, Keeps.WINDOW) for layer in model.layers)
    error = (0.15 if plain and model.experts is None else 0.4) * gib + 0.3
    return Term(gib, error, f"{max_loras} adapters of rank {rank}, as max_loras keeps room for")


def has_heads(model: Model) -> bool:
    """Tell whether embeddings and output head take adapters."""
    return model.architecture.startswith(WITH_HEADS)


def _layer(model: Model, layer: Layer, tp: int, *, sharded: bool) -> float:
    """Return the inputs and outputs of a layer's matrices, for one rank of one adapter."""
    hidden = model.hidden_size
    whole = hidden / tp if sharded else hidden
    found = 0.0
    if layer.attends:
        queries = layer.queries or model.heads * model.head_dim
        cached = layer.kv_heads * layer.kv_width
        # q, k and v read the hidden size; o reads what they gave.
        found += 3 * whole + (queries + cached) / tp + queries / tp + whole
    if layer.feed is Feed.NOTHING:
        return found
    ins = 2 if model.gated_mlp else 1
    if layer.feed is Feed.EXPERTS and model.experts is not None:
        experts = model.experts
        inner = experts.intermediate_size / tp
        found += experts.count * (ins * (hidden + inner) + inner + hidden)
        wide = experts.shared_intermediate_size
        if not wide:
            return found
    else:
        wide = layer.inner or model.intermediate_size
    return found + ins * (whole + wide / tp) + wide / tp + whole
