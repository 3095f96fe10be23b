# SPDX-License-Identifier: Apache-2.0
"""What a client writes, and what is secret, never comes as far as status.json, from log to file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.core.secrets import QUOTATION, without_quotations
from agent.core.state.phases import Phase
from agent.daemon.publisher import Publisher
from tests.given.engine_logs import SERVING, read, v1
from tests.given.hostile.words import CHANNELS, OF_NAMES
from tests.given.simulated_gpus import gpu_host
from tests.given.yardstick import yardsticks

PROMPT = "patient John Doe has fever"
SECRET = "aBcDeFgH1234567890"
DEADLY = [
    f"OSError: 401 Client Error for url with token hf_{SECRET}",
    f"OSError: 403 for https://b.s3/x?X-Amz-Signature={SECRET}&X-Amz-Credential=AK{SECRET}",
    f"ValueError: request headers Authorization: Bearer {SECRET}",
    f"RuntimeError: cannot process '{PROMPT}'",
    f"AssertionError: prompt: {PROMPT}",
    f"RuntimeError: failed on request with content={PROMPT}, n=1",
    f"torch.OutOfMemoryError: CUDA out of memory. Prompt was: {PROMPT}",
    f'KeyError: "{PROMPT}',
    f"RuntimeError: bad inputs: {PROMPT}",
]


def published(lines: list[str], file: Path) -> tuple[str, str]:
    """Return status.json, and the state with the history, after a death with these last lines."""
    host = gpu_host()
    assert host.serving_within(120)
    reader = read("\n".join([SERVING, *lines]))
    host.dies(None)
    host.ended = dict.fromkeys(host.ended, reader.diagnosis())
    host.pass_time(20)
    assert host.service().phase is not Phase.SERVING
    assert host.service().failure is not None
    publisher = Publisher(file, lambda: host.now)
    publisher.publish(host.state, host.policy, ())
    told = [(line.message, str(line.data)) for line in host.history]
    return file.read_text(), json.dumps([told, reader.tail])


def death(error: str) -> list[str]:
    return [
        v1("EngineCore encountered a fatal error.", level="ERROR"),
        v1("Traceback (most recent call last):", level="ERROR"),
        v1('  File "/opt/vllm/vllm/v1/engine/core.py", line 9, in run', level="ERROR"),
        v1("    self.step()", level="ERROR"),
        v1(error, level="ERROR"),
    ]


@pytest.mark.parametrize("error", DEADLY)
def test_neither_a_secret_nor_a_prompt_in_a_death_leaves_the_log(
    error: str, tmp_path: Path
) -> None:
    both = published(death(error), tmp_path / "status.json")
    assert f"{error.partition(':')[0]}:" in both[0]
    for said in both:
        assert SECRET not in said
        assert "John Doe" not in said


@pytest.mark.parametrize("channel", sorted(CHANNELS.keys() - OF_NAMES))
def test_no_way_into_the_log_brings_a_prompt_into_status_json(channel: str, tmp_path: Path) -> None:
    lines = [*CHANNELS[channel](PROMPT), *death("RuntimeError: cannot go on")]
    status, told = published(lines, tmp_path / "status.json")
    assert "John Doe" not in status
    assert "path" in channel or channel == "forwarded-for" or "John Doe" not in told


@pytest.mark.parametrize(
    "said",
    [
        "KeyError: 'model.layers.0.self_attn.qkv_proj.weight'",
        "FileNotFoundError: [Errno 2] No such file or directory: '/srv/models/llama/config.json'",
        "ValueError: Unknown quantization method: `fp9`; can't go on, don't ask",
        "AssertionError: input size 4096 is not divisible by 3",
        "RuntimeError: shape [1, 2, 3] is invalid",
    ],
)
def test_names_paths_and_sizes_stay(said: str) -> None:
    assert without_quotations(said) == said


def test_ids_of_tokens_are_words_too() -> None:
    said = without_quotations("NewRequestData(req_id=1, ids=[101, 2054, 2003, 1996, 3007, 1997])")
    assert said == f"NewRequestData(req_id=1, ids=[{QUOTATION}])"


@pytest.mark.parametrize("piece", ["'", '"a', "prompt:", "1, ", "'\\", "`x ", "content= "])
def test_any_line_is_read_quickly(piece: str) -> None:
    line = (piece * 32768)[:32768]
    assert yardsticks(lambda: without_quotations(line), 5) <= 5
