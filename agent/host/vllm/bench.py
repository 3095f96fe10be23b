# SPDX-License-Identifier: Apache-2.0
"""Runs `vllm bench serve` of the engine that is installed, against a live server."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.core.bench.measure import Load
from agent.core.engine.install import Engine

FIRST_RELEASE = (0, 8)
_WITHOUT_METADATA = (
    "import argparse; from vllm.benchmarks import serve; "
    "parser = argparse.ArgumentParser(); serve.add_cli_args(parser); "
    "serve.main(parser.parse_args())"
)


class BenchFailedError(Exception):
    """Says why there is no result, with the last line that vLLM printed."""


def has_bench(engine: Engine) -> bool:
    """Tell whether this vLLM brings its own benchmark (0.8..0.32)."""
    return engine.at_least(*FIRST_RELEASE)


def run_bench(
    python: str,
    engine: Engine,
    url: str,
    model: str,
    tokenizer: str,
    hf_home: str,
    load: Load,
    deadline_seconds: float,
    key: str | None = None,
) -> Mapping[str, Any]:
    """Return vLLM's result file for one load; `key` goes by the environment, which ps hides.

    Raises BenchFailedError when it ends otherwise or takes longer than the deadline.
    """
    with tempfile.TemporaryDirectory(prefix="llmagent-bench-") as directory:
        argv = [
            *_program(python, engine),
            "--backend=openai",
            f"--base-url={url}",
            "--endpoint=/v1/completions",
            f"--model={model}",
            f"--tokenizer={tokenizer}",
            "--dataset-name=random",
            f"--random-input-len={load.input_tokens}",
            f"--random-output-len={load.output_tokens}",
            f"--num-prompts={load.requests}",
            f"--max-concurrency={load.batch}",
            "--ignore-eos",
            "--save-result",
            f"--result-dir={directory}",
            "--result-filename=result.json",
        ]
        home = {"HOME": directory, "HF_HOME": hf_home, "HF_HUB_OFFLINE": "1"}
        if key is not None:
            home["OPENAI_API_KEY"] = key
        try:
            done = subprocess.run(
                argv,
                check=False,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                errors="replace",
                timeout=deadline_seconds,
                env={**os.environ, **home, "VLLM_NO_USAGE_STATS": "1"},
                cwd=directory,
            )
        except subprocess.TimeoutExpired as error:
            raise BenchFailedError(f"not done after {deadline_seconds:.0f} s") from error
        except OSError as error:
            raise BenchFailedError(f"{python}: {error.strerror}") from error
        return _result(Path(directory) / "result.json", done.returncode, done.stdout)


def _program(python: str, engine: Engine) -> tuple[str, ...]:
    if engine.has_vllm_metadata:
        return (python, "-m", "vllm.entrypoints.cli.main", "bench", "serve")
    return (python, "-c", _WITHOUT_METADATA)


def _result(file: Path, status: int, said: str) -> Mapping[str, Any]:
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        last = next((line for line in reversed(said.splitlines()) if line.strip()), "nothing")
        raise BenchFailedError(f"vllm bench ended with {status}: {last.strip()}") from error
    if not isinstance(document, dict):
        raise BenchFailedError("vllm bench wrote no result")
    return document
