# SPDX-License-Identifier: Apache-2.0
"""Composes the log that a release writes around one text, in the format of its era."""

from __future__ import annotations

import builtins
import zlib

from tests.catalogue.eras import Era, filled
from tests.catalogue.stages import Stage, stage_of
from tests.catalogue.texts import ASSERT, CHECK, Text

PACKAGES = "/usr/local/lib/python3.12/dist-packages/"
_BUILTIN = frozenset(n for n in dir(builtins) if n[0].isupper())
_ENGINE_FRAMES = (
    ("vllm/v1/engine/core.py", "run_engine_core"),
    ("vllm/v1/engine/core.py", "__init__"),
)
_FRAMES: dict[Stage, tuple[tuple[str, str], ...]] = {
    Stage.CONFIG: (
        ("vllm/entrypoints/cli/serve.py", "cmd"),
        ("vllm/entrypoints/openai/api_server.py", "build_async_engine_client"),
        ("vllm/engine/arg_utils.py", "create_engine_config"),
    ),
    Stage.DEVICE: (
        *_ENGINE_FRAMES,
        ("vllm/v1/executor/abstract.py", "__init__"),
        ("vllm/v1/worker/gpu_worker.py", "init_device"),
    ),
    Stage.LOAD: (
        *_ENGINE_FRAMES,
        ("vllm/v1/executor/uniproc_executor.py", "_init_executor"),
        ("vllm/v1/worker/gpu_worker.py", "load_model"),
        ("vllm/v1/worker/gpu_model_runner.py", "load_model"),
        ("vllm/model_executor/model_loader/base_loader.py", "load_model"),
    ),
    Stage.PROFILE: (
        *_ENGINE_FRAMES,
        ("vllm/v1/engine/core.py", "_initialize_kv_caches"),
        ("vllm/v1/worker/gpu_worker.py", "determine_available_memory"),
        ("vllm/v1/worker/gpu_model_runner.py", "profile_run"),
        ("vllm/v1/worker/gpu_model_runner.py", "_dummy_run"),
    ),
    Stage.SERVE: (
        ("vllm/v1/engine/core.py", "run_engine_core"),
        ("vllm/v1/engine/core.py", "run_busy_loop"),
        ("vllm/v1/engine/core.py", "_process_engine_step"),
    ),
}
_INSIDE_MODEL = (
    ("vllm/model_executor/models/llama.py", "forward"),
    ("vllm/model_executor/models/llama.py", "forward"),
)
_OLD = {
    "vllm/v1/engine/core.py": "vllm/engine/multiprocessing/engine.py",
    "vllm/v1/worker/gpu_worker.py": "vllm/worker/worker.py",
    "vllm/v1/worker/gpu_model_runner.py": "vllm/worker/model_runner.py",
    "vllm/v1/executor/abstract.py": "vllm/executor/executor_base.py",
    "vllm/v1/executor/uniproc_executor.py": "vllm/executor/gpu_executor.py",
    "run_engine_core": "run_mp_engine",
    "determine_available_memory": "determine_num_available_blocks",
    "_process_engine_step": "engine_step",
    "run_busy_loop": "run_engine_loop",
}


def exception_of(text: Text) -> str:
    """Return the last lines of the traceback: the exception and what it says."""
    name = text.name
    if name not in _BUILTIN:
        name = f"{text.module.removesuffix('.py').replace('/', '.')}.{name}"
    said = filled(text.template)
    return f"{name}: {said}" if said else name


def traceback_of(text: Text, release: str) -> str:
    """Return the whole traceback of a text that is thrown."""
    era = Era(release)
    stage = stage_of(text)
    frames = list(_FRAMES.get(stage, _FRAMES[Stage.CONFIG]))
    if stage is Stage.PROFILE and "worker" not in text.module:
        frames += _INSIDE_MODEL
    if text.kind != CHECK:
        frames.append((text.module, text.function))
    else:
        frames.append(("vllm/_custom_ops.py", "_op"))
    if era.minor < 8:
        frames = [(_OLD.get(path, path), _OLD.get(name, name)) for path, name in frames]
    lines = ["Traceback (most recent call last):"]
    for number, (path, name) in enumerate(frames):
        lines.append(f'  File "{PACKAGES}{path}", line {100 + 7 * number}, in {name}')
        if number < len(frames) - 1:
            lines.append(f"    self.{frames[number + 1][1].strip('_')}(value)")
    lines.append(f"    {_statement(text)}")
    if _wrapped_by_pydantic(text, era):
        kind, said = ("value_error", "Value error")
        if text.name == "AssertionError":
            kind, said = ("assertion_error", "Assertion failed")
        where = text.module.rpartition("/")[2].removesuffix(".py").title().replace("_", "")
        title = {"Quantization": "QuantizationConfigArgs"}.get(where, f"{where}Config")
        lines = [
            *lines[:1],
            *(f for f in lines[1:] if f.startswith("  File") and text.module not in f),
            f'  File "{PACKAGES}pydantic/_internal/_dataclasses.py", line 121, in __init__',
            "    s.__pydantic_validator__.validate_python(ArgsKwargs(args, kwargs))",
            f"pydantic_core._pydantic_core.ValidationError: 1 validation error for {title}",
            f"  {said}, {filled(text.template)} [type={kind}, input_value=ArgsKwargs((), {{'model'"
            ": '/srv/m', 'tokenizer': None}), input_type=ArgsKwargs]",
            f"    For further information visit https://errors.pydantic.dev/2.12/v/{kind}",
        ]
        return "\n".join(lines)
    return "\n".join([*lines, exception_of(text)])


def _statement(text: Text) -> str:
    if text.kind == ASSERT:
        return "assert value is not None, (" if text.template else "assert value is not None"
    if text.kind == CHECK:
        return "return torch.ops._C.op(value)"
    return f"raise {text.name}(" if text.template else f"raise {text.name}"


def _wrapped_by_pydantic(text: Text, era: Era) -> bool:
    return (
        era.minor >= 10
        and text.module.startswith("vllm/config/")
        and text.name in ("ValueError", "AssertionError")
        and bool(text.template)
    )


def beginning(release: str) -> list[str]:
    """Return the first lines of a start, up to the engine's configuration."""
    era = Era(release)
    engine = "a V1 LLM engine" if era.minor >= 8 else "an LLM engine"
    config = (
        f"Initializing {engine} (v{release}) with config: model='/srv/m', dtype=torch.bfloat16, "
        "max_seq_len=8192, tensor_parallel_size=1, quantization=None, kv_cache_dtype=auto"
    )
    return [*_server(era), *era.record(era.core, "INFO", "core.py", config)]


def _server(era: Era) -> list[str]:
    said = f"vLLM API server version {era.release}"
    return era.record("APIServer", "INFO", "api_server.py", said)


_STEPS = (
    (Stage.LOAD, "gpu_model_runner.py", "Starting to load model /srv/m..."),
    (Stage.PROFILE, "default_loader.py", "Loading weights took 4.20 seconds"),
    (Stage.SERVE, "gpu_worker.py", "Available KV cache memory: 4.60 GiB"),
)


def frames_of(stage: Stage) -> tuple[tuple[str, str], ...]:
    """Return vLLM's own frames of a stage, down into the model where it computes."""
    return _FRAMES[stage] + (_INSIDE_MODEL if stage is Stage.PROFILE else ())


def beginning_of(stage: Stage, era: Era) -> list[str]:
    """Return the lines of a run up to a stage: before the engine there are the server's alone."""
    return _server(era) if stage is Stage.CONFIG else _until(stage, era)


def _until(stage: Stage, era: Era) -> list[str]:
    lines = beginning(era.release)
    order = list(_FRAMES)
    for of, source, said in _STEPS:
        if order.index(stage) >= order.index(of):
            lines += era.record(era.core, "INFO", source, said)
    if stage is Stage.SERVE:
        lines += era.raw("APIServer", "INFO:     Application startup complete.")
        answer = 'INFO:     10.0.0.2:40 - "POST /v1/completions HTTP/1.1" 200 OK'
        lines += era.raw("APIServer", answer)
    return lines


def dying_log(text: Text, release: str) -> list[str]:
    """Return the log of a server that this text ended."""
    era = Era(release)
    stage = stage_of(text)
    trace = traceback_of(text, release)
    if stage not in _FRAMES or stage is Stage.CONFIG:
        return [*_server(era), *era.raw("APIServer", trace)]
    if era.minor < 8:
        return [*_until(stage, era), *_old_death(stage, era, trace)]
    if stage is Stage.SERVE:
        return [*_until(stage, era), *death_at_work(era, trace)]
    return [*_until(stage, era), *death_at_start(text.template, era, trace)]


def _old_death(stage: Stage, era: Era, trace: str) -> list[str]:
    lines = era.record("", "ERROR", "engine.py", f"{trace.rpartition(chr(10))[2]}\n{trace}")
    if stage is Stage.SERVE:
        dead = "MQLLMEngine is already dead, terminating server process"
        return [*lines, *era.record("", "CRITICAL", "launcher.py", dead)]
    return [
        *lines,
        "Process SpawnProcess-1:",
        *trace.split("\n"),
        "Traceback (most recent call last):",
        f'  File "{PACKAGES}vllm/scripts.py", line 1, in main',
        "RuntimeError: Engine process failed to start. See stack trace for the root cause.",
    ]


def death_at_work(era: Era, trace: str) -> list[str]:
    """Return what an engine that served and its server print of an exception."""
    dead = (
        "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack "
        "trace (above) for the root cause."
    )
    fatal = f"EngineCore encountered a fatal error.\n{trace}"
    return [
        *era.record(era.core, "ERROR", "core.py", fatal),
        *era.record("APIServer", "ERROR", "async_llm.py", "AsyncLLM output_handler failed."),
        *era.record("APIServer", "ERROR", "async_llm.py", dead),
    ]


def death_at_start(said: str, era: Era, trace: str) -> list[str]:
    """Return what the processes of a start print; for half of all texts a worker threw it."""
    lines: list[str] = []
    if zlib.crc32(said.encode()) % 2 and era.minor >= 9:
        failed = f"WorkerProc failed to start.\n{trace}"
        lines += era.record("Worker_TP0", "ERROR", "multiproc_executor.py", failed)
        trace = (
            "Traceback (most recent call last):\n"
            f'  File "{PACKAGES}vllm/v1/executor/multiproc_executor.py", line 9, in wait\n'
            "Exception: WorkerProc initialization failed due to an exception in a background "
            "process. See stack trace for root cause."
        )
    lines += era.record(era.core, "ERROR", "core.py", f"EngineCore failed to start.\n{trace}")
    lines += era.raw(era.core, f"Process {era.core}:\n{trace}")
    wrapper = (
        "Traceback (most recent call last):\n"
        f'  File "{PACKAGES}vllm/v1/engine/core_client.py", line 9, in __init__\n'
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core "
        "proc(s): {}"
    )
    return [*lines, *era.raw("APIServer", wrapper)]


def living_log(text: Text, release: str) -> list[str]:
    """Return the log of a server that logs this text on its way and then serves."""
    era = Era(release)
    stage = stage_of(text)
    stage = stage if stage in _FRAMES else Stage.CONFIG
    process = "APIServer" if stage is Stage.CONFIG else era.core
    level = "WARNING" if text.kind == "warning" else "ERROR"
    source = text.module.rpartition("/")[2]
    lines = _server(era) if stage is Stage.CONFIG else _until(stage, era)
    lines += era.record(process, level, source, filled(text.template) or "odd")
    done = _until(Stage.SERVE, era)
    return [*lines, *(line for line in done if line not in lines)]
