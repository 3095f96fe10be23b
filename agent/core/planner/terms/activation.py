# SPDX-License-Identifier: Apache-2.0
"""What the profiling run peaks at: the sampler, the widest layer, or the encoder's images.

The constants are fitted to what vLLM printed in published logs of 0.6.5..0.32, each with the error
that they show there.
"""

from __future__ import annotations

from collections.abc import Mapping

from agent.core.engine.defaults import Batch
from agent.core.measures import GIB
from agent.core.planner.encoder import Encoder
from agent.core.planner.model import Model
from agent.core.planner.overheads import Term
from agent.core.planner.terms.runner import (
    PROFILES_GRAPHS,
    has_states,
    leaves_graphs_out,
    profiles_items,
    runs_new_runner,
)
from agent.core.planner.versions import (
    FEWER_WIDENED,
    FLASHINFER_SAMPLES,
    FULL_SAMPLER,
    INDEXES_AHEAD,
    LEAN_SAMPLER,
    TUNES_LATER,
    Version,
)

SAMPLER_BYTES = 38.8
LEAN_SAMPLER_BYTES = 15.4
"""Bytes at the peak for each logit of the sampler's warm-up (max_num_seqs x vocabulary)."""

REJECTING_BYTES = 26.0
"""The same where drafts are checked, which that warm-up tries too: logits of two tokens of each
sequence in 16 bits, three copies of one in floats, its probabilities and the noise beside them
(v1/sample/rejection_sampler.py of 0.23). Two starts were planned too roomy without it: 12% of
Qwen3.5-9B's tokens (0.20, 256 sequences), 14% of GLM-5.2's cache (0.23, 1024)."""

FIRST_SAMPLER_BYTES = 2.0
"""The same with the new model runner before 0.29, which skips the sorting: only the logits are
there, and a start of 1024 sequences takes no more than one of 8."""

WARMED_UP_BYTES = 2 * 4
"""What its warm-up then takes for each logit once the KV cache stands: two copies in floats, 0.5
GiB of an L4's last 1.3 for 256 sequences of Gemma 4, whose graphs take the rest (0.26)."""

SMALL_SAMPLER_BYTES = 6.9
SAMPLER_BYTES_NOW = 23.0
"""The same with the new model runner from 0.29, and from 0.31 (1.62 GiB with the graphs of Qwen3-8B
on an A10G, 1.44 of Llama-3.1-8B on an A100, a third start like them)."""

STATES_ERROR = 0.5
"""How much more the starts of models with recurrent states differ, in GiB: their kernels' workspace
is not modelled (two of three without an encoder show 0.8 and 1.5 more than planned)."""

STATES_FP4_GIB = 2.0
"""What experts in 4-bit floats and gated delta layers together keep more, whatever the batch: 1.7
to 2.1 GiB of Qwen3.6-35B-A3B's NVFP4 copies on RTX 5090 and GB10 (0.20 and 0.22, four starts);
Nemotron's Mamba layers do not (0.20)."""

FP4_WORKSPACE = 2.8
"""What the kernels of experts in 4-bit floats keep beside, as a multiple of what others do: 1.9 GiB
at 8192 tokens and 4.1 at 16384 of Gemma 4's 128 experts (0.19 and 0.20)."""


SPREAD_ERROR, SPREAD_FP4_ERROR = 0.3, 1.0
"""How much more of the layers' peak the exchange between GPUs may keep where experts are spread
over them: GLM-5.2 in NVFP4 printed 6.3 GiB of 3.3 (four GB200, 0.26); Qwen3-235B in FP8 what is
planned (four H100, 0.20, two starts)."""

APART = (0, 19)
"""Since when experts write what they return beside what they read, not over it: of Qwen3-235B's FP8
spread over four H100, 65536 tokens took 4.8 GiB more than 32768 (0.20)."""

PERMUTED, FP8_BITS = 3.5, 8
"""Rows of the hidden size for each chosen expert where CUTLASS multiplies 8-bit floats with a scale
for each channel, permuted before and after (fused_moe/cutlass_moe.py, workspace_shapes): of
Qwen3.5-122B on four L40S, 65536 tokens took 6.3 GiB more than 32768 (0.18)."""

UNSORTED = 0.15
"""What the peak may come down to where FlashInfer samples: 0.5 GiB of 1.4 (Qwen2-7B, 0.10.1), 1.2
of 7.4 (gpt-oss-120b, 0.10.2)."""

WIDENED, WIDENED_LONG, LONG_CONTEXT = 5, 2, 256 * 1024
WIDENED_BYTES = 576 * 2
"""What sparse latent attention sets aside for each token of max_model_len, for good: five widened
latents, or forty keys of the indexer in the same place (flashmla_sparse.py and indexer.py of
v1/attention/backends/mla, 0.13..0.33): 5.6 GiB for a million tokens. Since 0.32 two for contexts
longer than 256k (sparse_mla_prefill_workspace_factor of config/vllm.py): 2.3 GiB."""

TABLE_ENTRY_BYTES, TABLE_BLOCK = 4, 16
TABLES_MENTIONED_GIB = 0.05
"""V1's runner keeps a number for each block that each sequence may have (v1/worker/block_table):
2.5 GiB for 1024 sequences of 10 million tokens, nothing that shows for usual lengths."""


def activation(
    model: Model,
    batch: Batch,
    version: Version,
    tensor_parallel_size: int,
    max_model_len: int,
    *,
    spread: bool = False,
    drafts: bool = False,
    widened: int | None = None,
) -> Term:
    """Return the peak of the profiling run: the most of sampler, layers and encoder.

    `spread`: each GPU has some of the experts, none is split. `drafts`: tokens are drafted.
    `widened`: latents that a sparse indexer sets aside for each token, where that is asked for.
    """
    tp = tensor_parallel_size
    if model.encoder_only:
        gib = batch.tokens * _widest(model, tp) * model.dtype_bytes / GIB
        return Term(gib, 0.3 * gib + 0.2, f"layers: {batch.tokens} tokens, no sampler")
    if model.pools:
        widest = _widest(model, tp, spread=spread, apart=version.release >= APART)
        gib = batch.tokens * widest * model.dtype_bytes / GIB
        return Term(gib, 0.2 * gib + 0.3, f"layers: {batch.tokens} tokens, pooled, no sampler")
    lean = version.release >= LEAN_SAMPLER
    new = runs_new_runner(model, version)
    old = LEAN_SAMPLER_BYTES if lean else SAMPLER_BYTES
    if drafts and lean:
        old = REJECTING_BYTES
    per_logit = _sampler_bytes(version) if new else old
    rows = min(batch.sequences, batch.tokens)
    sampler = rows * model.vocab_size * per_logit / GIB
    widest = _widest(model, tp, spread=spread, apart=version.release >= APART)
    layers = batch.tokens * widest * model.dtype_bytes / GIB
    gib = max(sampler, layers)
    how = (
        f"sampler: {rows} sequences x {model.vocab_size} logits x {per_logit:g} bytes"
        if sampler >= layers
        else f"layers: {batch.tokens} tokens x {widest:.0f} numbers"
    )
    # Before the lean sampler, and since the new runner, starts of one kind differ most.
    error = (0.2 if lean else 0.3) * gib + (0.5 if new else 0.3)
    if _multiplies_fp4(model):
        error += 0.25 * layers
    if spread:
        error += (SPREAD_FP4_ERROR if _multiplies_fp4(model) else SPREAD_ERROR) * layers
    first, last = FLASHINFER_SAMPLES
    if first <= version.release < last and not lean:
        error = max(error, (1 - UNSORTED) * sampler)
    if has_states(model):
        error += STATES_ERROR
    seen = profiles_items(model, version)
    if model.encoder is not None and seen:
        image, kept = _encoding(model.encoder, model, batch, version, tp, max_model_len)
        gib, error = max(gib, image) + max(0.2, kept), 0.35 * gib + 1.0 + 0.3 * kept
        how += f"; profiling of images: {image:.2f} GiB and {kept:.2f} of what they become"
    elif seen:
        gib, error = gib + 0.2, 0.35 * gib + 1.0
        how += "; images take less"
    tuned = version.release < TUNES_LATER
    if tuned and _keeps_fp4(model) and has_states(model) and model.gated_mlp:
        gib += STATES_FP4_GIB
        how += f"; {STATES_FP4_GIB:g} GiB of 4-bit experts beside recurrent layers"
    if model.latent is not None and model.latent.index_heads and version.release >= INDEXES_AHEAD:
        few = version.release >= FEWER_WIDENED and max_model_len > LONG_CONTEXT
        each = widened or (WIDENED_LONG if few else WIDENED)
        ahead = each * WIDENED_BYTES * max_model_len / GIB
        gib += ahead
        how += f"; {ahead:.2f} GiB that a sparse indexer's prefill gathers into"
    tables = batch.sequences * max_model_len / TABLE_BLOCK * TABLE_ENTRY_BYTES / GIB
    if version.v1 and tables > TABLES_MENTIONED_GIB:
        gib += tables
        how += f"; {tables:.2f} GiB of block tables for {batch.sequences} sequences"
    if not model.known:
        return Term(gib, error + 0.5 * gib, f"{how}; {model.architecture} may take more")
    return Term(gib, error, how)


def _sampler_bytes(version: Version) -> float:
    """Return the new runner's bytes at the peak for each logit."""
    if version.release >= FULL_SAMPLER:
        return SAMPLER_BYTES_NOW
    return SMALL_SAMPLER_BYTES if version.release >= PROFILES_GRAPHS else FIRST_SAMPLER_BYTES


def sampled_later(model: Model, batch: Batch, version: Version) -> float:
    """Return the GiB that sampling takes beside what the profiling run saw of it."""
    if not leaves_graphs_out(model, version) or model.pools:
        return 0.0
    rows = min(batch.sequences, batch.tokens)
    return rows * model.vocab_size * WARMED_UP_BYTES / GIB


def _encoding(
    encoder: Encoder, model: Model, batch: Batch, version: Version, tp: int, max_model_len: int
) -> tuple[float, float]:
    """Return the GiB of encoding the largest item, and of the outputs that are kept meanwhile.

    Half of encoding is the MLP's, which GPUs share; the outputs are on each GPU whole.
    """
    if not version.v1:
        return 0.0, 0.0
    item = encoder.largest_item(version.release, max_model_len)
    share = (1 + 1 / tp) / 2
    image = item.encoded * encoder.numbers * model.dtype_bytes * share / GIB
    budget = max(batch.tokens, item.budget)
    return image, budget * encoder.output * model.dtype_bytes / GIB


def _keeps_fp4(model: Model) -> bool:
    """Tell whether experts are in 4-bit floats, whatever they are multiplied in."""
    own = model.quantization_config
    modules = own.get("quantized_layers")
    if isinstance(modules, Mapping):
        said = " ".join(str(how) for name, how in modules.items() if "experts" in name)
        return model.experts is not None and "FP4" in said
    return _multiplies_fp4(model)


def _multiplies_fp4(model: Model) -> bool:
    own = model.quantization_config
    said = " ".join(str(own.get(name) or "") for name in ("quant_method", "quant_algo", "format"))
    modules = own.get("quantized_layers")
    if isinstance(modules, Mapping):
        # W4A16 widens the numbers before it multiplies them.
        said = " ".join(
            str(how)
            for name, how in modules.items()
            if "experts" in name and "W4A16" not in str(how)
        )
    return model.experts is not None and "fp4" in said.lower().replace("mxfp4", "")


def _permutes_fp8(model: Model) -> bool:
    """Tell whether experts are in 8-bit floats with a scale for each channel, not for a block."""
    own = model.quantization_config
    if model.experts is None or not str(own.get("quant_method")).startswith("compressed"):
        return False
    groups = own.get("config_groups")
    first = next(iter(groups.values()), None) if isinstance(groups, Mapping) else None
    weights = first.get("weights") if isinstance(first, Mapping) else None
    if not isinstance(weights, Mapping):
        return False
    floats = weights.get("type") == "float" and weights.get("num_bits") == FP8_BITS
    return floats and weights.get("strategy") != "block"


def _widest(model: Model, tp: int, *, spread: bool = False, apart: bool = False) -> float:
    inner = 3 * model.intermediate_size / tp
    if model.experts is not None:
        each = model.experts.intermediate_size / (1 if spread else tp)
        # The fused kernel keeps what every chosen expert reads, and what it widens it to.
        read = (2 if model.gated_mlp else 1) * each
        fp4 = _multiplies_fp4(model)
        narrow = max(each, model.hidden_size) if apart and not fp4 else each
        chosen = (model.experts.active or 8) * (max(read, model.hidden_size) + narrow)
        chosen *= FP4_WORKSPACE if fp4 else 1.0
        if _permutes_fp8(model):
            chosen = (model.experts.active or 8) * PERMUTED * max(read, model.hidden_size)
        inner = max(chosen, 3 * model.experts.shared_intermediate_size / tp)
    attention = (2 * model.heads * model.head_dim) / tp
    mixer = attention * (4 if has_states(model) else 1)
    return max(inner, mixer) + 5 * model.hidden_size
