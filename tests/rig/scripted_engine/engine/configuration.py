# SPDX-License-Identifier: Apache-2.0
"""What vLLM makes of its arguments and the model's own configuration, and says of it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Final

from engine.memory import Memory
from engine.scenario import Scenario

DEFAULT_LENGTH: Final = 8192


def derived_length(model: str) -> int:
    """Returns the longest request that the model's own configuration allows."""
    config = Path(model) / "config.json"
    if config.exists():
        return int(json.loads(config.read_text()).get("max_position_embeddings", DEFAULT_LENGTH))
    return DEFAULT_LENGTH


def printed_quantization(arguments: argparse.Namespace, scenario: Scenario) -> str:
    """Returns what the configuration line calls the quantization (0.24..0.32: auto_awq)."""
    asked = str(arguments.quantization)
    config = Path(arguments.model) / "config.json"
    if arguments.quantization is None and config.exists():
        found = json.loads(config.read_text()).get("quantization_config") or {}
        asked = str(found.get("quant_method"))
    awq = scenario.device == "cuda" and asked in ("awq", "awq_marlin")
    return scenario.quantization or ("auto_awq" if awq else asked)


def kernel_line(arguments: argparse.Namespace, scenario: Scenario) -> str:
    """Returns the line that names the linear kernel; "" where vLLM prints none."""
    if scenario.kernel:
        return f"Using {scenario.kernel}"
    match printed_quantization(arguments, scenario):
        case "awq" | "auto_awq":
            kind = "Marlin" if scenario.device == "cuda" else "CPUWNA16"
            return f"Using {kind}LinearKernel for AutoAWQMarlinLinearMethod"
        case "fp8":
            return "Selected CutlassFP8ScaledMMLinearKernel for Fp8LinearMethod"
    return ""


def config_line(arguments: argparse.Namespace, scenario: Scenario, memory: Memory) -> str:
    """Returns the line that tells the configuration in force."""
    quantization = printed_quantization(arguments, scenario)
    return (
        f"Initializing a V1 LLM engine (v0.32.0) with config: model='{arguments.model}', "
        f"speculative_config=None, tokenizer='{arguments.model}', dtype=torch.bfloat16, "
        f"max_seq_len={memory.max_model_len}, load_format=auto, tensor_parallel_size="
        f"{arguments.tensor_parallel_size or 1}, pipeline_parallel_size=1, "
        f"quantization={quantization}, quantization_config=None, "
        f"enforce_eager={arguments.enforce_eager}, "
        f"kv_cache_dtype={scenario.kv_cache_dtype or arguments.kv_cache_dtype}, "
        f"device_config={scenario.device}, seed=0, "
        f"served_model_name={arguments.served_model_name or arguments.model}, "
        f"enable_prefix_caching={arguments.enable_prefix_caching}, "
        f"enable_chunked_prefill={arguments.enable_chunked_prefill}, pooler_config=None"
    )
