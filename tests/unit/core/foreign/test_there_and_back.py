# SPDX-License-Identifier: Apache-2.0
"""What llmagent itself starts is read back as the table that it came from."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.engine.command_line import command_line
from agent.core.engine.install import Engine
from agent.core.foreign.found import Found
from agent.core.foreign.table import table_of
from agent.core.foreign.unit import engine_of_words
from agent.core.settings.service import Settings

MODELS = st.sampled_from(["org/m", "/srv/my models/llama", "org/M-7B_v0.1"])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "host": st.sampled_from(["127.0.0.1", "0.0.0.0", "::1"]),
    "port": st.integers(1024, 65535),
    "served_model_name": st.sampled_from(["chat", "our model", "a/b"]),
    "dtype": st.sampled_from(["half", "bfloat16"]),
    "quantization": st.sampled_from(["fp8", "awq"]),
    "kv_cache_dtype": st.sampled_from(["fp8", "fp8_e4m3"]),
    "max_model_len": st.integers(1, 1 << 20),
    "max_num_seqs": st.integers(1, 4096),
    "gpu_memory_utilization": st.sampled_from([0.5, 0.92]),
    "kv_cache_memory_bytes": st.integers(1, 1 << 40),
    "tensor_parallel_size": st.integers(1, 8),
    "enforce_eager": st.just(True),
    "enable_prefix_caching": st.booleans(),
    "trust_remote_code": st.just(True),
    "extra_args": st.sampled_from(
        [
            ("--seed", "1"),
            ("--tool-call-parser=hermes", "--enable-auto-tool-choice"),
            ("--speculative-config", '{"method": "ngram", "num_speculative_tokens": 3}'),
            ("--lora-modules", "a=/x", "b=/y", "--enable-lora"),
        ]
    ),
}
ASKED = st.fixed_dictionaries({"model": MODELS}, optional=VALUES)


@settings(max_examples=80)
@given(ASKED)
def test_a_rendered_command_line_is_the_table_again(asked: dict[str, Any]) -> None:
    service = Settings("x", **asked)
    argv = command_line(service, Engine("0.32.0", has_vllm_metadata=True, flags=None))
    table = table_of(engine_of_words(Found("x", ()), argv, lambda _: None)).table
    for key, value in asked.items():
        if key == "extra_args":
            assert tuple(table["extra_args"][-len(value) :]) == value
        else:
            assert table[key] == value
