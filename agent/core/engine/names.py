# SPDX-License-Identifier: Apache-2.0
"""Which of vLLM's names mean the same thing, across its versions 0.6..0.32."""

from __future__ import annotations

_QUANTIZATIONS = (
    # From 0.24 all of these print as auto_awq.
    frozenset({"awq", "awq_marlin", "marlin", "auto_awq"}),
    # From 0.22 all of these print as auto_gptq.
    frozenset({"gptq", "gptq_marlin", "marlin", "auto_gptq"}),
    # 0.31 calls online fp8 by what it does.
    frozenset({"fp8", "fp8_per_tensor"}),
)
_KV_DTYPES = (frozenset({"fp8", "fp8_e4m3"}), frozenset({"float16", "half"}))
_DTYPE_BYTES = {
    "fp8": 1,
    "fp8_e4m3": 1,
    "fp8_e5m2": 1,
    "bfloat16": 2,
    "float16": 2,
    "half": 2,
    "float32": 4,
    "float": 4,
}


def same_quantization(asked: str, got: str) -> bool:
    """Tell whether the engine's printed method is the one that was asked for."""
    return _same(asked, got, _QUANTIZATIONS)


def same_kv_dtype(asked: str, got: str) -> bool:
    """Tell whether two names of a KV-cache dtype mean one format."""
    return _same(asked, got, _KV_DTYPES)


def weight_family(quantization: str) -> str:
    """Return "awq", "gptq", "fp8" or the name itself."""
    name = quantization.lower()
    for family, names in zip(("awq", "gptq", "fp8"), _QUANTIZATIONS, strict=True):
        if name in names:
            return family
    return name


def dtype_bytes(name: str) -> int | None:
    """Return the bytes of one element; None for formats with scales beside the elements."""
    return _DTYPE_BYTES.get(name.lower().removeprefix("torch."))


def _same(asked: str, got: str, groups: tuple[frozenset[str], ...]) -> bool:
    one, other = asked.lower(), got.lower()
    return one == other or any(one in names and other in names for names in groups)
