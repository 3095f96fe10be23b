# SPDX-License-Identifier: Apache-2.0
"""Values of secrets never leave the log reader; the words around them do."""

from __future__ import annotations

import dataclasses
import json

import pytest

from agent.core.secrets import GONE, without_secrets
from tests.given.engine_logs import ALLOCATION, SERVING, read, v1
from tests.given.yardstick import yardsticks

VALUE = "aBcDeFgH1234567890"
SAID = [
    f"token hf_{VALUE} is used",
    f"OpenAI key sk-{VALUE}",
    f"Authorization: Bearer {VALUE}",
    f"{{'Authorization': 'Bearer {VALUE}'}}",
    f"Authorization: {VALUE}",
    f"https://user:{VALUE}@proxy.example.com/simple",
    f"https://s3/x?X-Amz-Credential=AK{VALUE}&X-Amz-Signature={VALUE}&a=1",
    f"https://cdn/x?Expires=1&Signature={VALUE}&Key-Pair-Id=K",
    f"non-default args: {{'api_key': ['{VALUE}'], 'port': 8000}}",
    f"--api-key={VALUE} --port 1",
    f"password={VALUE}",
]


@pytest.mark.parametrize("said", SAID)
def test_no_value_is_left(said: str) -> None:
    clean = without_secrets(said)
    assert VALUE not in clean
    assert GONE in clean
    assert without_secrets(clean) == clean


@pytest.mark.parametrize("said", SAID)
def test_no_value_leaves_the_log_reader(said: str) -> None:
    failed = v1(f"{ALLOCATION} {said}", level="ERROR")
    reader = read(f"{SERVING}\n{v1(said)}\n{failed}")
    shown = json.dumps(dataclasses.asdict(reader.diagnosis())) + "\n".join(reader.tail)
    assert VALUE not in shown
    assert reader.diagnosis().failure is not None


@pytest.mark.parametrize(
    "said",
    [
        "Invalid user token",
        "Illegal header value b'Bearer '",
        "api_key=None",
        "http://0.0.0.0:8000",
    ],
)
def test_what_is_no_secret_stays(said: str) -> None:
    assert without_secrets(said) == said


@pytest.mark.parametrize(
    "part", ["hf_", "Bearer ", "://a:", "Signature=", "api_key", "://", "sk-a"]
)
def test_no_text_takes_long(part: str) -> None:
    text = (part * 32_768)[:32_768]
    assert yardsticks(lambda: without_secrets(text), 10) <= 10
