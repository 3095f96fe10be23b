# SPDX-License-Identifier: Apache-2.0
"""What a bug report may tell strangers: no secret in any place, and no text of a client."""

from __future__ import annotations

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.randomness import is_random
from agent.core.redaction import Redactor, is_secret_name

REDACTOR = Redactor(["known-to-this-host"])
BASE62 = string.ascii_letters + string.digits

SECRET = "hunter2-and-more"

HOLDING_A_SECRET = [
    f"password = {SECRET}",
    f'"db_password": "{SECRET}"',
    f"PGPASSWORD_FOR_LOGS={SECRET}",
    f"--api-key {SECRET} --port 8000",
    f"--hf-token={SECRET}",
    f"Authorization: Bearer {SECRET}",
    f"authorization: Basic {SECRET}",
    f"mysql://root:{SECRET}@db/x",
    f"https://{SECRET}@github.com/org/private",
    f"GET https://bucket.s3.amazonaws.com/w.safetensors?X-Amz-Signature={SECRET} failed",
    f"https://x.blob.core.windows.net/c/w?sv=2022&se=2026&sp=r&whatever={SECRET}",
    f"/v1/models?key={SECRET}",
    f"privateKey: {SECRET}",
    f"Cookie: session={SECRET}",
    f"client_secret='{SECRET}'",
    f'{{"auth": {{"user": "x", "pass": "{SECRET}"}}}}',
    f"OPENAI_KEY={SECRET}",
    f"curl -u bob:{SECRET} https://host/",
    f"postgres://bob:with@{SECRET}@db/x",
    f"api_key=['{SECRET}', '{SECRET}2']",
    "machine hub login bob password hunter2-and-more",
    f"https://x/y#access_token={SECRET}",
    f"export HF_TOKEN='{SECRET}'",
    f"HF_TOKEN: !!str {SECRET}",
    f'password="two words {SECRET}"',
    f"AccountKey={SECRET};Endpoint=x",
    f"'client-secret' => '{SECRET}'",
    "the word known-to-this-host by itself",
    f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET}\nAAAA\n-----END OPENSSH PRIVATE KEY-----",
]


@pytest.mark.parametrize("text", HOLDING_A_SECRET)
def test_a_secret_goes_by_its_name_its_place_or_its_text(text: str) -> None:
    told = REDACTOR.text(text)
    assert SECRET not in told
    assert "known-to-this-host" not in told
    assert "[secret]" in told


KEPT = [
    "max_num_batched_tokens=8192, kv_bytes_per_token: 131072",
    "hf_token_file = /etc/llmagent/hf_token",
    'tokenizer = "meta-llama/Llama-3.1-8B-Instruct"',
    "(EngineCore_DP0 pid=20310) INFO 11-21 03:05:59 [core.py:1006] # GPU blocks: 6,553",
    "Using CompressedTensorsWNA16MarlinMoEMethod for quantization",
    "hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4",
    "GPU-5f2d0c9a-1b7e-4c1d-9d2e-0a1b2c3d4e5f",
    "models--org--name/snapshots/0123456789abcdef0123456789abcdef01234567/config.json",
    '  File "/opt/vllm/lib/python3.11/site-packages/huggingface_hub/file_download.py", line 9, in '
    "hf_hub_download",
    "cutlass_80_tensorop_f16_s16816gemm_relu_f16_256x128_32x3_nn_align8",
    "_ZN3c105ErrorC2ENS_14SourceLocationENSt7__cxx1112basic_stringIcEE",
    "eos_token_id: 128009",
    "'encoder_cudagraph_token_budgets': [], 'pass_config': {'fuse_norm': True}",
    "pass token=<your_token>",
    "20 tokens in 0.04 s, the password is asked by nobody",
]


@pytest.mark.parametrize("text", KEPT)
def test_what_helps_to_find_the_fault_stays(text: str) -> None:
    assert REDACTOR.text(text) == text


@given(st.integers(min_value=0, max_value=2**64), st.integers(min_value=32, max_value=64))
def test_most_of_what_is_drawn_by_lot_goes_without_a_name(seed: int, length: int) -> None:
    draw = random.Random(seed)
    keys = ["".join(draw.choice(BASE62) for _ in range(length)) for _ in range(50)]
    # Of 50 at most one or two look like words by chance; on average two in ten thousand do.
    assert sum(not is_random(key) for key in keys) <= 2


@pytest.mark.parametrize(
    ("letters", "length", "of_ten_thousand"),
    [
        (BASE62, 32, 10),
        (BASE62, 16, 70),
        (f"{BASE62}+/", 40, 10),
        (f"{BASE62}-_", 43, 10),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 32, 90),
        ("abcdefghijklmnopqrstuvwxyz0123456789", 32, 20),
    ],
)
def test_of_keys_without_a_name_hardly_any_is_taken_for_a_name(
    letters: str, length: int, of_ten_thousand: int
) -> None:
    draw = random.Random(20261129)
    keys = ("".join(draw.choice(letters) for _ in range(length)) for _ in range(10_000))
    assert sum(not is_random(key) for key in keys) <= of_ten_thousand


NAMES = [
    "served_model_name=/srv/models/tinyawq",
    "/lib/x86_64-linux-gnu/libstdc++.so.6",
    "vllm_dist_823412dbd6b74cdcbc24015d4efce79e",
    "e1d0d362-feeb-4dd8-98b4-c3e4282dc0db",
    "MergedColumnParallelLinear",
    "scaled_dot_product_attention_math",
    "moe_wna16_marlin_gemm_kernel_bf16",
    "per_tensor_symmetric_quantization",
    "prefix_cache_queries_total_created",
    "DeepseekV32IndexerBackendMetadataBuilder",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_programs_are_not_taken_for_keys(name: str) -> None:
    assert not is_random(name)


def test_names_of_secrets_are_known_by_their_words() -> None:
    secret = [
        "HF_TOKEN",
        "apiKey",
        "DB_PASSWORD",
        "aws.secret_access_key",
        "--api-key",
        "SENTRY_DSN",
    ]
    assert all(map(is_secret_name, secret))
    plain = [
        "tokenizer",
        "max_tokens",
        "hf_token_file",
        "keyboard",
        "monkey",
        "authors",
        "TOKENIZERS",
    ]
    assert not any(map(is_secret_name, plain))


def test_of_variables_that_nobody_knows_only_the_name_is_told() -> None:
    document = {"environment": {"VLLM_USE_V1": "1", "HF_TOKEN": "short", "OUR_THING": "whatever"}}
    assert REDACTOR.value(document) == {
        "environment": {"VLLM_USE_V1": "1", "HF_TOKEN": "[secret]", "OUR_THING": "[secret]"}
    }
    unit = (
        "[Service]\nEnvironment=OUR_THING=what ever\nEnvironment=VLLM_USE_V1=1\nEnvironment=A=1 B=2"
    )
    told = REDACTOR.unit(unit)
    assert "what" not in told
    assert "ever" not in told
    assert "Environment=VLLM_USE_V1=1" in told
    assert "A=[secret] B=[secret]" in told


def test_the_last_lines_of_a_hung_engine_in_the_history_are_a_log() -> None:
    event = {"kind": "evidence", "data": {"lines": ["INFO 11-28 10:00:00 [a.py:1] up", PROMPT]}}
    (first, second) = REDACTOR.value(event)["data"]["lines"]
    assert first == "INFO 11-28 10:00:00 [a.py:1] up"
    assert "Ada" not in second


def test_a_value_behind_an_option_in_a_list_is_one() -> None:
    document = {"extra_args": ["--api-key", "abc", "--seed", "1"]}
    assert REDACTOR.value(document) == {"extra_args": ["--api-key", "[secret]", "--seed", "1"]}


PROMPT = "My name is Ada and my knee hurts"

WITH_A_PROMPT = [
    f"INFO 11-28 10:00:00 [logger.py:40] Received request cmpl-1: prompt: '{PROMPT}', params: x",
    f'INFO 11-28 10:00:00 [logger.py:40] Generated response cmpl-1: output: "{PROMPT}"',
    f"ERROR 11-28 10:00:00 [serving.py:1] ValueError: bad content: {PROMPT}",
    f"pydantic_core.ValidationError: input_value={{'role': 'user', 'content': '{PROMPT}'}}",
    PROMPT,
    f"user: {PROMPT}",
    f"    {PROMPT}",
    f"(APIServer pid=1) {PROMPT}",
    f"(APIServer pid=1)     {PROMPT}",
]


@pytest.mark.parametrize("line", WITH_A_PROMPT)
def test_a_clients_words_are_not_in_an_engines_log(line: str) -> None:
    told = "\n".join(REDACTOR.log(["INFO 11-28 10:00:00 [a.py:1] up", line]))
    assert not {"Ada", "knee", "hurts"} & set(told.replace("'", " ").split())


def test_of_the_access_log_path_and_status_stay() -> None:
    asked = '"POST /v1/completions?user=ada HTTP/1.1"'
    line = f"(APIServer pid=9) INFO:     127.0.0.1:34478 - {asked} 400 Bad Request"
    (told,) = REDACTOR.log([line])
    assert "<POST /v1/completions HTTP/1.1> 400" in told
    assert "ada" not in told


def test_a_traceback_stays_with_its_source() -> None:
    trace = [
        "(EngineCore_DP0 pid=9) ERROR 11-28 10:00:00 [core.py:9] EngineCore failed to start.",
        "Traceback (most recent call last):",
        '  File "/opt/vllm/lib/python3.11/site-packages/vllm/model_executor/model_loader/'
        'base_loader_of_a_long_name.py", line 9, in run',
        '    outputs = await self.start("with text")',
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        "Loading safetensors checkpoint shards:  50% Completed | 1/2 [00:01<00:01]",
        "vllm.service: Main process exited, code=exited, status=1/FAILURE",
    ]
    assert REDACTOR.log(trace) == trace
    # As the processes of a newer vLLM write it, with and without its own stamp.
    for before in (
        "(APIServer pid=11) ",
        "(EngineCore_DP0 pid=7) ERROR 11-28 10:00:00 [core.py:8] ",
    ):
        stamped = [f"{before}{line}" for line in (*trace[1:5], "           ^^^^^^^^^")]
        assert REDACTOR.log(stamped) == stamped
