# SPDX-License-Identifier: Apache-2.0
"""When the hub's cache on disk is complete, as the agent reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from agent.core.hub.cache import Repository
from agent.host.models.hub_cache import look

MODEL = Repository("org/m", "main", weights=True)
TOKENIZER = Repository("org/t", "main", weights=False)
COMMIT = "a" * 40
SHARDS = ("model-1.safetensors", "model-2.safetensors")
NOTHING: Mapping[str, str] = {}
INDEX = json.dumps({"weight_map": {"a": SHARDS[0], "b": SHARDS[1]}})


def cached(
    hub: Path,
    repository: Repository = MODEL,
    *,
    absent: str = "",
    more: Mapping[str, str] = NOTHING,
) -> Path:
    """Makes a snapshot of links to blobs as huggingface_hub does; returns it."""
    storage = hub / f"models--{repository.name.replace('/', '--')}"
    snapshot = storage / "snapshots" / COMMIT
    for directory in (snapshot, storage / "blobs", storage / "refs"):
        directory.mkdir(parents=True)
    (storage / "refs/main").write_text(COMMIT)
    files = {"config.json": "{}", "tokenizer.json": "{}", "model.safetensors.index.json": INDEX}
    files |= dict.fromkeys(SHARDS, "weights") | dict(more)
    for number, (name, content) in enumerate(files.items()):
        if name != absent and content:
            (storage / "blobs" / f"{number}").write_text(content)
            (snapshot / name).symlink_to(f"../../blobs/{number}")
    return snapshot


def test_a_whole_snapshot_is_complete(tmp_path: Path) -> None:
    cached(tmp_path)
    found = look(str(tmp_path), (MODEL,))
    assert found.complete
    assert found.sure
    assert found.free_bytes > 0


@pytest.mark.parametrize(
    ("absent", "says"),
    [
        (SHARDS[1], "1 of 2 files of weights are missing (model-2.safetensors first)"),
        ("config.json", "no config.json"),
        ("tokenizer.json", "no tokenizer"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, absent: str, says: str) -> None:
    cached(tmp_path, absent=absent)
    found = look(str(tmp_path), (MODEL,))
    assert not found.complete
    assert says in found.lacks


def test_a_cache_that_is_not_there_lacks_the_model(tmp_path: Path) -> None:
    found = look(str(tmp_path / "none"), (MODEL,))
    assert found.lacks == f"org/m is not in {tmp_path / 'none'}"
    assert found.free_bytes > 0


def test_a_link_to_nothing_is_found(tmp_path: Path) -> None:
    snapshot = cached(tmp_path)
    (snapshot / SHARDS[0]).resolve().unlink()
    assert "link to nothing" in look(str(tmp_path), (MODEL,)).lacks


def test_weights_without_an_index_are_complete_with_one_file(tmp_path: Path) -> None:
    one = {"model.safetensors.index.json": "", SHARDS[0]: "", SHARDS[1]: ""}
    cached(tmp_path, more={**one, "model.safetensors": "weights"})
    assert look(str(tmp_path), (MODEL,)).complete


def test_a_snapshot_of_small_files_only_has_no_weights(tmp_path: Path) -> None:
    small = {"model.safetensors.index.json": "", SHARDS[0]: "", SHARDS[1]: ""}
    cached(tmp_path, more={**small, "training_args.bin": "x"})
    assert "has no weights" in look(str(tmp_path), (MODEL,)).lacks


def test_of_a_tokenizers_repository_only_the_tokenizer_is_wanted(tmp_path: Path) -> None:
    cached(tmp_path)
    assert "org/t is not in" in look(str(tmp_path), (MODEL, TOKENIZER)).lacks
    cached(tmp_path, TOKENIZER, absent="config.json")
    assert look(str(tmp_path), (MODEL, TOKENIZER)).complete


def test_two_formats_side_by_side_are_complete_but_not_sure(tmp_path: Path) -> None:
    cached(tmp_path, more={"params.json": "{}", "consolidated.safetensors": "weights"})
    found = look(str(tmp_path), (MODEL,))
    assert found.complete
    assert not found.sure


def test_what_cannot_be_read_is_a_problem_and_no_lack(tmp_path: Path) -> None:
    snapshot = cached(tmp_path)
    (snapshot.parents[1] / "refs/main").write_bytes(b"\xff\xfe")
    found = look(str(tmp_path), (MODEL,))
    assert found.problem
    assert not found.lacks
    assert not found.complete
