# SPDX-License-Identifier: Apache-2.0
"""The command line as vLLM 0.32 reads it."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Final

NUMBERS: Final = {
    "port": int,
    "max_model_len": int,
    "max_num_seqs": int,
    "max_num_batched_tokens": int,
    "gpu_memory_utilization": float,
    "kv_cache_memory_bytes": int,
    "shutdown_timeout": int,
}
DEFAULTS: Final[dict[str, object]] = {
    "model": "Qwen/Qwen3-0.6B",
    "host": "0.0.0.0",
    "port": 8000,
    "gpu_memory_utilization": 0.92,
    "max_num_seqs": 256,
    "max_num_batched_tokens": 2048,
    "kv_cache_dtype": "auto",
    "shutdown_timeout": 0,
    "enforce_eager": False,
    "enable_prefix_caching": True,
    "enable_chunked_prefill": True,
}


def parser(program: str) -> argparse.ArgumentParser:
    """Builds a parser of every flag that vLLM 0.32 knows."""
    made = argparse.ArgumentParser(prog=program, add_help=False, allow_abbrev=False)
    if program == "vllm serve":
        made.add_argument("model_tag", nargs="?")
    for line in Path(__file__).with_name("flags.txt").read_text().splitlines():
        kind, name, *short = line.split()
        if kind == "#":
            continue
        key = name[2:].replace("-", "_")
        default = DEFAULTS.get(key)
        match kind:
            case "switch":
                action = argparse.BooleanOptionalAction
                made.add_argument(name, *short, action=action, default=default)
            case "flag":
                made.add_argument(name, *short, action="store_true")
            case "list":
                made.add_argument(name, *short, nargs="+", default=default)
            case _:
                kind_of = NUMBERS.get(key, str)
                made.add_argument(name, *short, type=kind_of, default=default)
    return made


def parse(module: str, argv: list[str], import_seconds: float) -> argparse.Namespace:
    """Returns the arguments, or ends as vLLM does: help with status 0, a mistake with 2.

    vLLM imports everything before it reads its arguments, so that either takes that long.
    """
    serve = module.endswith("cli.main") and argv[:1] == ["serve"]
    words = [dashes(word) for word in (argv[1:] if serve else argv)]
    made = parser("vllm serve" if serve else "api_server.py")
    if any(word == "-h" or word.split("=")[0] == "--help" for word in words):
        print(made.format_help())
        sys.exit(0)
    time.sleep(import_seconds)
    arguments = made.parse_args(words)
    if serve and arguments.model_tag is not None:
        arguments.model = arguments.model_tag
    if isinstance(arguments.served_model_name, list):
        arguments.served_model_name = arguments.served_model_name[0]
    return arguments


def dashes(word: str) -> str:
    """Returns a flag with its underscores made dashes, as vLLM takes both."""
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if name.startswith("--") else word


def non_default(arguments: argparse.Namespace) -> dict[str, object]:
    """Returns what was asked for that is not the default, as vLLM logs it."""
    standing = {key: default for key, default in DEFAULTS.items() if key != "model"}
    unset: tuple[object, ...] = (None, False, [])
    return {
        key: "***" if key in ("api_key", "hf_token") else value
        for key, value in vars(arguments).items()
        if key != "model_tag" and value != standing.get(key) and value not in unset
    }
