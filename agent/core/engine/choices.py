# SPDX-License-Identifier: Apache-2.0
"""The words that vLLM takes for an option: of its own help, and of its releases."""

from __future__ import annotations

import re
from collections.abc import Mapping

_CHOICES = re.compile(r"^ {1,8}--([a-z0-9-]+)(?:, -\S+)? \{([^{}\s]+)\}(?: \[.*\])?$", re.MULTILINE)

QUANTIZATIONS = frozenset(
    {
        *("aqlm", "auto-round", "auto_awq", "auto_gptq", "awq", "awq_marlin", "bitblas"),
        *("bitsandbytes", "compressed-tensors", "cpu_awq", "cpu_gptq", "deepseek_v4_fp8"),
        *("deepspeedfp", "experts_int8", "fbgemm_fp8", "fp8", "fp8_per_block", "fp8_per_channel"),
        *("fp8_per_tensor", "fp_quant", "gguf", "gpt_oss_mxfp4", "gptq", "gptq_bitblas"),
        *("gptq_marlin", "gptq_marlin_24", "hqq", "humming", "inc"),
        *("int8_per_channel_weight_only", "int8_per_group_32", "ipex", "marlin", "modelopt"),
        *("modelopt_fp4", "modelopt_mixed", "modelopt_mxfp8", "moe_wna16", "mxfp4", "mxfp8"),
        *("neuron_quant", "nvfp4", "nvfp4_per_token", "online", "petit_nvfp4", "ptpc_fp8", "qqq"),
        *("quark", "rtn", "squeezellm", "torchao", "tpu_int8"),
    }
)
"""QuantizationMethods of vLLM 0.6 to 0.33 (model_executor/layers/quantization/__init__.py)."""


def parse_choices(help_text: str) -> Mapping[str, frozenset[str]]:
    """Return the words that an option takes, by vLLM's name for it (`dtype`), from its help.

    Only of those that take no other: "{hermes,...} or name registered in --tool-parser-plugin" is
    none of them, and neither is what another check than the parser's judges (0.33: kv-cache-dtype).
    """
    return {
        name.replace("-", "_"): frozenset(words.split(","))
        for name, words in _CHOICES.findall(help_text)
    }
