# SPDX-License-Identifier: Apache-2.0
"""The engine's environment: vLLM, its flags, the compilers that it calls at run time."""

from __future__ import annotations

from agent.core.doctor.finding import Finding, fail, ok, skipped, unknown, warning
from agent.core.engine.install import release_of
from agent.core.record import dataclass

ONLY_ROOT = "Permission denied"
"""What a problem says that is the reader's, not the engine's."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """What the engine's kernels are compiled with at run time; paths, "" for what is missing.

    `flashinfer` tells that FlashInfer is installed, `precompiled` that its kernels are too.
    """

    compiler: str = ""
    python_header: str = ""
    nvcc: str = ""
    flashinfer: bool = False
    precompiled: bool = False


def judge_install(
    service: str, version: str | None, python: str, problems: tuple[str, ...]
) -> Finding:
    """Tell whether there is a vLLM that is known here."""
    check = "vllm"
    if problems and ONLY_ROOT in problems[0]:
        return unknown(check, problems[0], "Run it as root.", service)
    if problems or version is None:
        told = problems[0] if problems else f"{python} has no vLLM"
        return fail(check, told, "Install vLLM, or set python.", service)
    release = release_of(version)[:2]
    if release < (0, 6):
        fix = "Upgrade: logs and metrics of this release are not known."
        return warning(check, f"vLLM {version}", fix, service)
    return ok(check, f"vLLM {version} ({python})", service)


def judge_python(service: str, version: tuple[int, int] | None) -> Finding:
    """Tell whether the engine's Python is one that vLLM's wheels are made for (3.9..3.13)."""
    check = "python"
    if version is None:
        return skipped(check, "the engine's Python was not found", service)
    told = f"Python {version[0]}.{version[1]}"
    if not (3, 9) <= version <= (3, 13):
        return warning(check, told, "Use Python 3.10 to 3.13 for the engine.", service)
    return ok(check, told, service)


def judge_flags(service: str, mistakes: tuple[str, ...]) -> Finding:
    """Tell whether the installed vLLM knows every flag that it will be given."""
    check = "flags"
    hidden = tuple(mistake for mistake in mistakes if ONLY_ROOT in mistake)
    mistakes = tuple(mistake for mistake in mistakes if ONLY_ROOT not in mistake)
    if hidden and not mistakes:
        return unknown(check, hidden[0], "Run it as root.", service)
    if mistakes:
        told = "; ".join(mistakes[:3])
        return fail(check, told, "Correct agent.toml: `llmagent check` names each.", service)
    return ok(check, "the installed vLLM knows all of them", service)


def judge_compiler(service: str, tools: Toolchain, *, cuda: bool) -> Finding:
    """Tell whether Triton finds a C compiler and Python's headers."""
    check = "c-compiler"
    if not cuda:
        return skipped(check, "torch is a build without CUDA", service)
    if not tools.compiler:
        fix = "apt install gcc: Triton compiles its kernels' launchers at run time."
        return fail(check, "neither gcc nor clang is on the unit's PATH", fix, service)
    if not tools.python_header:
        fix = "apt install python3-dev, of the Python that the engine uses."
        return fail(check, f"{tools.compiler}, but no Python.h for the engine", fix, service)
    return ok(check, f"{tools.compiler}, {tools.python_header}", service)


def judge_nvcc(service: str, tools: Toolchain, *, cuda: bool) -> Finding:
    """Tell whether FlashInfer finds nvcc where it must compile its kernels."""
    check = "nvcc"
    if not cuda or not tools.flashinfer:
        return skipped(check, "nothing here compiles CUDA at run time", service)
    if tools.nvcc:
        return ok(check, tools.nvcc, service)
    if tools.precompiled:
        return ok(check, "no nvcc, but FlashInfer's kernels are installed compiled", service)
    fix = "Install the CUDA toolkit and put nvcc on the unit's PATH, or install "
    fix += "flashinfer-jit-cache, or set VLLM_USE_FLASHINFER_SAMPLER=0."
    return warning(check, "FlashInfer compiles at run time, and there is no nvcc", fix, service)
