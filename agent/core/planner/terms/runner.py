# SPDX-License-Identifier: Apache-2.0
"""Which of vLLM's two model runners runs a model unasked: the new one peaks lower.

Read in config/vllm.py (use_v2_model_runner) of 0.20.2, 0.23, 0.24, 0.26, 0.27.1 and 0.28..0.32.
"""

from __future__ import annotations

from dataclasses import replace

from agent.core.engine.defaults import Batch
from agent.core.planner.layers import Keeps
from agent.core.planner.model import Model
from agent.core.planner.versions import ALL_DENSE, IN_FLIGHT_STEPS, WHOLE_ITEMS, Version

_FIRST = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen3ForCausalLM")
_MORE = ("DeepseekV2ForCausalLM", "GraniteMoeForCausalLM", "Qwen2MoeForCausalLM")
FIRST_MODELS = (0, 23)
QUANTIZED_TOO = (0, 24)
ALL_MODELS = (0, 29)
PROFILES_GRAPHS = (0, 29)
"""From here the new runner estimates its graphs, too. Before, its profile_cudagraph_memory returns
nothing (v1/worker/gpu/model_runner.py of 0.23..0.28): what 0.26 and 0.28 print of dense models
adds up without them."""


IMAGES_UNPROFILED, IMAGES_PROFILED = (0, 26), (0, 27)
"""Between these the new runner's profiling run leaves the encoder out (profile_run in
v1/worker/gpu/model_runner.py of 0.26; 0.27.1 has it)."""


def has_states(model: Model) -> bool:
    """Tell whether layers of the model keep a recurrent state."""
    return any(layer.keeps is Keeps.STATE for layer in model.layers)


def as_run(model: Model, quantization: str | None) -> Model:
    """Return the model as it runs: one that is quantized while it is loaded is no plain one."""
    if not quantization or model.quantization_config:
        return model
    return replace(model, quantization_config={"quant_method": quantization})


def runs_new_runner(model: Model, version: Version) -> bool:
    """Tell whether this release runs the model with its new runner."""
    release = version.release
    if release >= ALL_MODELS:
        return True
    if release >= ALL_DENSE:
        dense = model.experts is None and not has_states(model)
        return dense or model.architecture in _MORE
    if release >= QUANTIZED_TOO:
        return model.architecture in (*_FIRST, *_MORE)
    return (
        release >= FIRST_MODELS
        and model.architecture in _FIRST
        and model.experts is None
        and not model.quantization_config
    )


def profiles_items(model: Model, version: Version) -> bool:
    """Tell whether the profiling run encodes images, video or sound, too."""
    unseen = IMAGES_UNPROFILED <= version.release < IMAGES_PROFILED
    return model.encodes and not (unseen and runs_new_runner(model, version))


def leaves_graphs_out(model: Model, version: Version) -> bool:
    """Tell whether CUDA graphs are left out of the share, though this release estimates others."""
    return version.release < PROFILES_GRAPHS and runs_new_runner(model, version)


def graphs_inside(model: Model, version: Version) -> bool:
    """Tell whether CUDA graphs are taken out of the share that utilization gives."""
    return version.graphs_inside and not leaves_graphs_out(model, version)


def holding_items(batch: Batch, model: Model, version: Version, *, asked: bool) -> Batch:
    """Return the batch as vLLM raises it, unasked, to the largest item of one step."""
    _, raised = WHOLE_ITEMS
    if asked or version.release < raised:
        return batch
    return replace(batch, tokens=max(batch.tokens, model.whole_item))


def steps_in_flight(model: Model, version: Version, stages: int, *, overlapped: bool) -> int:
    """Return how many steps may be under way at once (max_concurrent_batches, 0.26..0.32).

    `overlapped`: --async-scheduling is on, as it is unasked.
    """
    if version.release < IN_FLIGHT_STEPS or not overlapped:
        return stages if version.release >= IN_FLIGHT_STEPS else 1
    if runs_new_runner(model, version):
        return stages + 1
    return 2 if stages <= 1 else stages
