# SPDX-License-Identifier: Apache-2.0
"""What `llmagent check` says of keys, certificates and prompts in the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.core.engine.install import Engine
from agent.core.settings.service import Settings
from agent.tasks.check_access import (
    exposure,
    key_mistakes,
    prompts_in_the_journal,
    secret_files,
)
from tests.given.certificates import self_signed

OLD, NEW, NEWEST = (
    Engine(version, has_vllm_metadata=True, flags=None)
    for version in ("0.20.0", "0.32.0", "0.33.0")
)


def with_keys(tmp_path: Path, content: str, mode: int = 0o600) -> Settings:
    file = tmp_path / "keys"
    file.write_text(content)
    file.chmod(mode)
    return Settings("vllm", "/srv/m", api_key_file=str(file))


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [("k\n", 0o640, "chmod 600"), ("k\n", 0o604, "chmod 600"), ("", 0o600, "is empty")],
)
def test_a_key_file_that_others_may_read_or_that_is_empty_is_a_mistake(
    tmp_path: Path, content: str, mode: int, words: str
) -> None:
    ((key, sentence),) = secret_files(with_keys(tmp_path, content, mode))
    assert key == "api_key_file"
    assert words in sentence


def test_files_that_are_not_there_are_named_with_their_keys(tmp_path: Path) -> None:
    nowhere = {
        name: str(tmp_path / name)
        for name in (
            *("api_key_file", "ssl_certfile", "ssl_keyfile"),
            *("client_certfile", "client_keyfile"),
        )
    }
    asked: dict[str, Any] = dict(nowhere)
    found = dict(secret_files(Settings("vllm", "/srv/m", **asked)))
    assert found.keys() == nowhere.keys()


def test_a_client_certificate_and_a_key_that_do_not_belong_together_are_named(
    tmp_path: Path,
) -> None:
    own, other = self_signed(tmp_path, "own"), self_signed(tmp_path, "other")
    for key, wrong in ((own[1], False), (other[1], True)):
        asked = Settings("vllm", "/srv/m", client_certfile=str(own[0]), client_keyfile=str(key))
        found = dict(secret_files(asked))
        assert ("client_certfile" in found) is wrong, found
    assert "cannot be used" in found["client_certfile"]


@pytest.mark.parametrize("line", ["two words", "k\u00e9y", "--api-key"])
def test_a_key_that_vllm_could_not_take_is_named_by_its_line_alone(
    tmp_path: Path, line: str
) -> None:
    (sentence,) = key_mistakes(with_keys(tmp_path, f"{line}\n"), OLD)
    assert "line 1" in sentence
    assert line not in sentence


def test_several_keys_need_a_release_that_does_not_print_them(tmp_path: Path) -> None:
    settings = with_keys(tmp_path, "one\n\ntwo\n")
    (sentence,) = key_mistakes(settings, OLD)
    assert "vLLM 0.32" in sentence
    assert list(key_mistakes(settings, NEW)) == []
    assert list(key_mistakes(with_keys(tmp_path, "one\n"), OLD)) == []


def test_a_key_does_not_close_what_vllm_leaves_open() -> None:
    everyone = Settings("vllm", "/srv/m", host="0.0.0.0")
    assert "asks for no key" in exposure(everyone)
    keyed = Settings("vllm", "/srv/m", host="0.0.0.0", api_key_file="/k")
    assert "/pooling" in exposure(keyed)
    assert "in the clear" in exposure(keyed)
    tls = Settings(
        "vllm", "/srv/m", host="0.0.0.0", api_key_file="/k", ssl_certfile="/c", ssl_keyfile="/p"
    )
    assert "in the clear" not in exposure(tls)


@pytest.mark.parametrize(
    ("engine", "words", "environment", "warned"),
    [
        (NEWEST, ("--enable-log-requests",), {}, False),
        (NEWEST, ("--enable-log-requests",), {"VLLM_REQUEST_BODY_LOG_LEVEL": "INFO"}, True),
        (NEWEST, ("--enable-log-requests",), {"VLLM_LOGGING_LEVEL": "DEBUG"}, True),
        (NEWEST, (), {"VLLM_REQUEST_BODY_LOG_LEVEL": "INFO"}, False),
        (NEWEST, ("--disable-log-requests",), {"VLLM_REQUEST_BODY_LOG_LEVEL": "INFO"}, False),
        (NEW, ("--enable_log_requests",), {}, True),
        (NEW, (), {"VLLM_DEBUG_LOG_API_SERVER_RESPONSE": "1"}, True),
    ],
)
def test_prompts_that_would_stand_in_the_journal_are_warned_of(
    engine: Engine, words: tuple[str, ...], environment: dict[str, str], warned: bool
) -> None:
    settings = Settings("vllm", "/srv/m", extra_args=words, environment=environment)
    assert bool(prompts_in_the_journal(settings, engine)) is warned
