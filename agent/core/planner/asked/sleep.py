# SPDX-License-Identifier: Apache-2.0
"""What vLLM's profiling does not see of a start with --enable-sleep-mode.

Its allocator (device_allocator/cumem.py) gives back what loading has freed behind PyTorch's back,
so that PyTorch goes on counting it as its own. Up to 0.26 the profiling takes what the card misses
less what PyTorch counts (utils/mem_utils.py, memory_profiling): the KV cache is given what was
freed once more. 0.27.1 and later measure the card alone.
"""

from __future__ import annotations

from agent.core.command.picture import Picture
from agent.core.measures import GIB
from agent.core.planner.model import Model
from agent.core.planner.overheads import Term
from agent.core.planner.question import SHARED_UTILIZATION, PlanRequest
from agent.core.planner.terms.formats import UnknownQuantizationError
from agent.core.planner.weights import repacked_gib

MISCOUNTS = ((0, 11), (0, 27, 1))
"""Read in 0.10.2, which gives nothing back, in 0.11..0.26, and in 0.27.1."""

WHOLE_BLOCKS = (0, 21)
"""From here no block of more than 20 MiB is split while a model loads (max_split_size_mb); before,
quantized layers and encoders may lie in the block of a head that was dropped."""

ERROR_GIB, SHARED_ERROR_GIB = 0.6, 2.5
"""How far these sizes leave it off: 0.1 GiB on an A10, 0.1 to 0.4 on an L40S and two A100 (0.26).
A small share is asked for where others sleep and wake on the card, which is counted with it: an
embedder was given 2.3 GiB more, a reader 0.7 less (0.22)."""

DROPPED_HEADS = (
    *("Apertus", "Arcee", "DiffusionGemma", "Exaone4", "ExaoneMoE", "FalconH1", "Gemma3For"),
    *("Gemma4", "GPT2", "Granite", "HunYuan", "HYV3", "Jais2", "Lfm2", "Llama", "Mamba2"),
    *("MiniCPM", "Mistral", "Mixtral", "Nemotron", "Phi4MM", "Plamo", "Qwen2Moe", "Qwen3Moe"),
    *("Qwen3VLMoe", "Solar", "StableLm", "Step1", "Zamba2"),
)
"""How the architectures begin that make an output head and drop it where it is tied to the
embeddings (model_executor/models of 0.20.2 and 0.26); the others make none."""


def is_miscounted(picture: Picture, request: PlanRequest) -> bool:
    """Tell whether the start sleeps in a release whose profiling goes wrong by it."""
    first, last = MISCOUNTS
    return bool(picture.switch("enable_sleep_mode")) and first <= request.version.release < last


def given_twice(model: Model, request: PlanRequest, *, pools: bool) -> Term:
    """Return what the KV cache is given beyond what there is, as memory below 0.

    `pools`: the outputs are pooled, so that no output head is made.
    """
    repacked = _repacked_gib(model, request)
    whole = request.version.release >= WHOLE_BLOCKS or not (repacked or model.encodes)
    head = 0.0 if pools or not whole else _dropped_head_gib(model, request)
    how = "what loading has freed and the profiling takes for used"
    if head:
        how += f": an output head that is dropped for the embeddings, {head:.2f}"
    alone = request.utilization > SHARED_UTILIZATION
    return Term(0.0 - head - repacked, ERROR_GIB if alone else SHARED_ERROR_GIB, how)


def doubt_of_sleep(term: Term) -> str:
    """Return why such a start may fail although it fits by the arithmetic."""
    much = f"about {-term.gib:.1f} GiB more" if term.gib < -0.05 else "more"
    return (
        f"--enable-sleep-mode: this vLLM's profiling does not see all that the sleeping allocator "
        f"holds, and may give the KV cache {much} than there is: lower gpu_memory_utilization"
    )


def _dropped_head_gib(model: Model, request: PlanRequest) -> float:
    ties = model.tied_embeddings and not model.pools and not model.encoder_only
    if not ties or not model.architecture.startswith(DROPPED_HEADS):
        return 0.0
    if request.pipeline_parallel_size > 1:
        # The head stands on the last stage, which is seldom the fullest.
        return 0.0
    size = model.vocab_size * model.hidden_size * model.dtype_bytes
    return size / request.tensor_parallel_size / GIB


def _repacked_gib(model: Model, request: PlanRequest) -> float:
    """Return what Marlin leaves of the last layer that it has packed anew.

    Weights of compressed-tensors are transposed first, which leaves a second copy
    (kernels/linear/mixed_precision/marlin.py).
    """
    try:
        layer = repacked_gib(model, request.quantization, request.tensor_parallel_size)
    except UnknownQuantizationError:
        return 0.0
    transposed = "compressed" in str(model.quantization_config.get("quant_method") or "")
    return layer * (2 if transposed else 1)
