# SPDX-License-Identifier: Apache-2.0
"""What was relative to where an engine ran is whole in agent.toml: our unit runs elsewhere."""

from __future__ import annotations

import json

import pytest

from agent.core.foreign.found import Container, Found
from agent.core.foreign.relative import with_whole_paths

THERE = frozenset(
    {"/srv/llm/loras/sql", "/srv/llm/chat.jinja", "/srv/llm/ckpt/a/b", "/srv/llm/cache.yaml"}
)


def placed(*words: str, **environment: str) -> Found:
    found = Found("x", words, environment, directory="/srv/llm", home="/home/me")
    return with_whole_paths(found, THERE.__contains__)


@pytest.mark.parametrize(
    ("word", "whole"),
    [
        ("sql=loras/sql", "sql=/srv/llm/loras/sql"),
        ("--chat-template=chat.jinja", "--chat-template=/srv/llm/chat.jinja"),
        ("ckpt/a/b", "/srv/llm/ckpt/a/b"),
        ("./anything", "/srv/llm/anything"),
        ("../parsers/x.py", "/srv/parsers/x.py"),
        ("~/draft", "/home/me/draft"),
    ],
)
def test_a_relative_path_is_made_whole(word: str, whole: str) -> None:
    assert placed(word).words == (whole,)


@pytest.mark.parametrize("word", ["org/model", "auto", "0.9", "http://a/b.json", "/srv/x", "-tp"])
def test_what_is_no_path_of_this_host_stays(word: str) -> None:
    found = placed(word)
    assert (found.words, found.left) == ((word,), ())


def test_paths_in_json_and_in_variables_are_made_whole() -> None:
    found = placed(
        "--speculative-config",
        '{"model": "./draft", "method": "eagle"}',
        LMCACHE_CONFIG_FILE="cache.yaml",
        PYTHONPATH="./own:/opt/x",
    )
    assert json.loads(found.words[1]) == {"model": "/srv/llm/draft", "method": "eagle"}
    assert found.environment == {
        "LMCACHE_CONFIG_FILE": "/srv/llm/cache.yaml",
        "PYTHONPATH": "/srv/llm/own:/opt/x",
    }


def test_a_served_name_is_no_path_though_such_a_directory_is_there() -> None:
    assert placed("--served-model-name", "loras/sql").words[1] == "loras/sql"


def test_a_file_that_is_not_there_is_named() -> None:
    (left,) = placed("m", LMCACHE_CONFIG_FILE="gone.yaml").left
    assert left.what == "LMCACHE_CONFIG_FILE gone.yaml"
    assert "/srv/llm" in left.why


def test_paths_in_a_container_are_its_own() -> None:
    box = Container("docker", "vllm/vllm-openai")
    found = Found("x", ("./m",), directory="/srv/llm", container=box)
    assert with_whole_paths(found, THERE.__contains__) is found


def test_a_name_alone_is_a_path_where_the_key_says_so() -> None:
    table = '{"kv_connector_extra_config": {"shared_storage_path": "kv", "mode": "kv"}}'
    found = placed("--kv-transfer-config", table, PROFILE_DIR="loras", DTYPE="loras")
    assert [left.what for left in found.left] == [
        "shared_storage_path kv",
        "PROFILE_DIR loras",
    ]
