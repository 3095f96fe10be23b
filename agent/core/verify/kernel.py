# SPDX-License-Identifier: Apache-2.0
"""Which matrix kernel runs the quantized weights, as far as the engine says it (vLLM 0.6..0.32)."""

from __future__ import annotations

from agent.core.diagnosis.facts import Facts
from agent.core.engine.defaults import FORCED_SLOW_KERNEL
from agent.core.engine.install import release_of
from agent.core.engine.names import weight_family
from agent.core.verify.check import NOT_ASKED, Check, Statement, Verdict, joined, unknown

ITEM = "linear_kernel"
ANY = "any"
_MARLIN = "marlin"
_ARITHMETIC = "FP8 arithmetic"

_FIRST_KERNEL_LINE = {"awq": (0, 19), "fp8": (0, 15)}
"""The first release whose log names the kernel of this family; 0.6.3 named GPTQ's already."""


def linear_kernel(
    asked_quantization: str | None, expected: str | None, log: Facts, version: str | None
) -> Check | None:
    """Judge the kernel; None when none is expected and none is known.

    Without an expectation AWQ and GPTQ are to run on Marlin, and FP8 with FP8 arithmetic, not as
    Marlin's weight-only fallback for GPUs below compute capability 8.9.
    """
    quantization = log.quantization or asked_quantization
    family = weight_family(quantization) if quantization else ""
    wanted = _wanted(family, expected)
    seen = _seen(family, log, version)
    if wanted is None:
        if seen is None:
            return None
        return Check(ITEM, NOT_ASKED, seen.value, Verdict.PROVEN, seen.evidence)
    if seen is None:
        return unknown(ITEM, wanted, _why_unknown(family, version))
    runs_marlin = _MARLIN in seen.value.lower()
    fits = not runs_marlin if wanted == _ARITHMETIC else wanted.lower() in seen.value.lower()
    if fits:
        return Check(ITEM, wanted, seen.value, Verdict.PROVEN, seen.evidence)
    note = joined(f"not proven: kernel is {seen.value}", _consequence(family, log, wanted))
    return Check(ITEM, wanted, seen.value, Verdict.CONTRADICTED, seen.evidence, note)


def _wanted(family: str, expected: str | None) -> str | None:
    if expected is not None:
        return None if expected.lower() == ANY else expected
    if family in ("awq", "gptq"):
        return _MARLIN
    return _ARITHMETIC if family == "fp8" else None


def _seen(family: str, log: Facts, version: str | None) -> Statement[str] | None:
    line = log.evidence_for("linear_kernel")
    if log.linear_kernel is not None and line:
        return Statement(log.linear_kernel, line)
    config = log.evidence_for("quantization")
    release = release_of(version or "")
    if log.quantization is None or not config or not release:
        return None
    if log.quantization in ("awq", "gptq") and release < FORCED_SLOW_KERNEL[family]:
        return Statement(f"plain {family.upper()} kernel", config)
    if log.quantization == "awq_marlin" and release < _FIRST_KERNEL_LINE["awq"]:
        # AWQMarlinLinearMethod had no other kernel then.
        return Statement("awq_marlin", config)
    return None


def _why_unknown(family: str, version: str | None) -> str:
    first = _FIRST_KERNEL_LINE.get(family)
    release = release_of(version or "")
    if first and release and release < first:
        return f"vLLM before {first[0]}.{first[1]} does not log the kernel of {family.upper()}"
    return "the log of this start has no kernel line"


def _consequence(family: str, log: Facts, wanted: str) -> str:
    if wanted == _ARITHMETIC:
        return "weights are FP8, arithmetic is not (a GPU below compute capability 8.9)"
    if log.linear_kernel is None and family in FORCED_SLOW_KERNEL:
        major, minor = FORCED_SLOW_KERNEL[family][:2]
        return (
            f"quantization={log.quantization} forces it before vLLM {major}.{minor}: "
            f"ask for {family}_marlin or leave it out"
        )
    return ""
