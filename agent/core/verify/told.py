# SPDX-License-Identifier: Apache-2.0
"""What a service asks of vLLM in any place: keys, `extra_args`, and the file of --config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agent.core.command.picture import picture_of
from agent.core.settings.service import Settings

WORDS = ("quantization", "kv_cache_dtype")
NUMBERS = (
    *("max_model_len", "max_num_seqs", "kv_cache_memory_bytes"),
    *("tensor_parallel_size", "pipeline_parallel_size"),
)
SWITCHES = ("enable_prefix_caching", "enable_chunked_prefill")


def as_told(settings: Settings, options_file: Mapping[str, Any] | None) -> Settings:
    """Return the settings with what vLLM is told of them, wherever that stands; the last counts.

    `options_file` is what stands in the file of --config, None where there is none or it was not
    read: then only the other places are known.
    """
    if not settings.extra_args:
        return settings
    picture = picture_of(settings, options_file)
    asked: dict[str, Any] = {name: picture.text(name) for name in WORDS}
    asked |= {name: picture.whole(name) for name in NUMBERS}
    asked |= {name: picture.switch(name) for name in SWITCHES}
    asked["gpu_memory_utilization"] = picture.real("gpu_memory_utilization")
    return replace(settings, **{name: v for name, v in asked.items() if v is not None})
