# SPDX-License-Identifier: Apache-2.0
"""The hub's cache belongs to the service's user, who may put anything there; root reads it."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.core.hub.cache import CacheFacts, Repository
from agent.errors import UsageError
from agent.host.files.foreign import LONGEST
from agent.host.models.config import read_model_config
from agent.host.models.files import weights_gib
from agent.host.models.hub_cache import look
from agent.host.probes.model import model_files

MODEL = Repository("org/m", "main", weights=True)
COMMIT = "a" * 40
NAMES = ("config.json", "tokenizer_config.json", "model.safetensors.index.json", "m.safetensors")
SECRET = "the-name-of-a-secret"
HEADER = b'{"a":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}}'
WHOLE = struct.pack("<Q", len(HEADER)) + HEADER + bytes(8)
GOOD = {
    "config.json": b"{}",
    "tokenizer_config.json": b"{}",
    "model.safetensors.index.json": b'{"weight_map":{"a":"m.safetensors"}}',
    "m.safetensors": WHOLE,
}


def snapshot_in(home: Path) -> Path:
    storage = home / "hub" / "models--org--m"
    snapshot = storage / "snapshots" / COMMIT
    for directory in (snapshot, storage / "blobs", storage / "refs"):
        directory.mkdir(parents=True)
    (storage / "refs/main").write_text(COMMIT)
    for number, (name, content) in enumerate(GOOD.items()):
        (storage / "blobs" / str(number)).write_bytes(content)
        (snapshot / name).symlink_to(f"../../blobs/{number}")
    return snapshot


def in_time(read: Callable[[], object]) -> object:
    """Return what `read` gives; fails where it blocks, as a FIFO's reader does for ever."""
    came: list[object] = []
    thread = threading.Thread(target=lambda: came.append(read()), daemon=True)
    thread.start()
    thread.join(10.0)
    assert came, "it does not come back"
    return came[0]


def fifo(path: Path, _away: Path) -> None:
    os.mkfifo(path)


def link_to_zero(path: Path, _away: Path) -> None:
    path.symlink_to("/dev/zero")


def link_away(path: Path, away: Path) -> None:
    path.symlink_to(away / SECRET)


def link_to_a_fifo(path: Path, _away: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


def link_to_itself(path: Path, _away: Path) -> None:
    path.symlink_to(path.name)


def directory(path: Path, _away: Path) -> None:
    path.mkdir()


def huge(path: Path, _away: Path) -> None:
    with path.open("wb") as file:
        file.truncate(LONGEST * 100)


TRAPS = (fifo, link_to_zero, link_away, link_to_a_fifo, link_to_itself, directory, huge)


@pytest.fixture
def away(tmp_path: Path) -> Path:
    away = tmp_path / "away"
    away.mkdir()
    (away / SECRET).write_text('{"weight_map": {"a": "what-only-root-may-see"}, "secret": "told"}')
    return away


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.__name__)
def test_whatever_stands_for_a_file_of_a_model_nothing_blocks_and_nothing_leads_out(
    tmp_path: Path, away: Path, name: str, trap: Callable[[Path, Path], None]
) -> None:
    snapshot = snapshot_in(tmp_path)
    (snapshot / name).unlink()
    trap(snapshot / name, away)
    tracemalloc.start()
    found = in_time(lambda: look(str(tmp_path / "hub"), (MODEL,)))
    files = in_time(lambda: model_files("org/m", None, str(tmp_path)))
    config = in_time(lambda: read_model_config("org/m", None, str(tmp_path)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(found, CacheFacts)
    # A directory of that name is as no file, and only an index is read to its end.
    as_none = trap is directory and name in NAMES[1:3]
    assert not found.complete or as_none or (trap is huge and name != NAMES[2])
    assert "what-only-root-may-see" not in f"{found}{files}{config}"
    assert config is None if name == "config.json" else config == {}
    assert peak < 100 << 20


@pytest.mark.parametrize(
    "content",
    [
        "/root/private",
        "../../../../../root",
        "c0ffee",
        "",
        "A" * 40,
        "x" * (300 << 20),
        "\0",
        "\x1b[2J",
    ],
    ids=lambda text: repr(text[:20]),
)
def test_a_ref_that_holds_no_commit_is_told_in_one_short_sentence(
    tmp_path: Path, content: str
) -> None:
    snapshot_in(tmp_path)
    (tmp_path / "hub/models--org--m/refs/main").write_text(content)
    found = look(str(tmp_path / "hub"), (MODEL,))
    assert not found.complete
    assert 0 < len(found.problem) < 800
    assert found.problem.isprintable()
    assert read_model_config("org/m", None, str(tmp_path)) is None
    assert model_files("org/m", None, str(tmp_path)).complete is None


@pytest.mark.parametrize("part", ["", "snapshots", f"snapshots/{COMMIT}", "refs"])
def test_no_directory_of_the_cache_may_be_a_link_to_elsewhere(
    tmp_path: Path, away: Path, part: str
) -> None:
    snapshot_in(tmp_path)
    storage = tmp_path / "hub/models--org--m"
    (storage / part).rename(tmp_path / "moved")
    (storage / part).symlink_to(tmp_path / "moved")
    found = look(str(tmp_path / "hub"), (MODEL,))
    assert not found.complete
    assert "leads out of" in found.problem
    assert read_model_config("org/m", None, str(tmp_path)) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
def test_the_cache_itself_may_be_a_link_of_whoever_owns_what_it_leads_to(tmp_path: Path) -> None:
    home = tmp_path / "home"
    snapshot_in(tmp_path / "data")
    home.symlink_to(tmp_path / "data")
    os.lchown(home, 65534, 65534)
    assert "another user" in look(str(home / "hub"), (MODEL,)).problem
    os.chown(tmp_path / "data", 65534, 65534)
    assert look(str(home / "hub"), (MODEL,)).complete
    os.lchown(home, 0, 0)
    os.chown(tmp_path / "data", 0, 0)
    assert look(str(home / "hub"), (MODEL,)).complete


def test_the_directory_of_an_operator_may_hold_links_to_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/m.safetensors").write_bytes(WHOLE)
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "m.safetensors").symlink_to("../data/m.safetensors")
    assert weights_gib(model) == 8 / 1024**3


HEADERS = (
    b"",
    b"{",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"a":{"data_offsets":[0,' + b"9" * 5000 + b"]}}",
    b'{"a":{"data_offsets":[0,1e400]}}',
    b'{"a":{"data_offsets":[0]}}',
    b'{"a":{"data_offsets":null}}',
    b'{"a":null}',
    b'{"a":{}}',
    b"[]",
    b"null",
    b'"a"',
    b'{"' + b"\\\\" * 1_000_000,
    b'{"' + b'\\"' * 1_000_000,
    b'{"a":{"' + b'\\"' * 1_000_000,
    b'{"a":{' + b'"",' * 1_000_000,
    b'{"a":{"dtype":"' + b"x" * 1_000_000 + b'","data_offsets":[0,8]}}',
    b'{"model.layers.' + b"9" * 5000 + b'.a":{"data_offsets":[0,9]}}',
    b'{"\\ud800":{"data_offsets":[0,9]}}',
    b'{"a\0":{"data_offsets":[0,9]}}',
    b'{"\xff":{"data_offsets":[0,9]}}',
    b"{" + b" " * 4_000_000,
    b"{" + b'"a":{"data_offsets":[0,9]},' * 500_001,
)


def size_or_error(place: Path) -> str:
    try:
        return str(weights_gib(place))
    except UsageError as error:
        return str(error)


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: repr(header[:30]))
def test_a_forged_header_is_a_usage_error_or_a_size(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    tracemalloc.start()
    assert 0 < len(size_or_error(tmp_path)) < 800
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < len(header) * 1.2 + (4 << 20)
    assert model_files(str(tmp_path), None, "").complete in (None, False)


@pytest.mark.parametrize("length", [0, 1, 2**63, 2**64 - 1, LONGEST + 1])
def test_no_header_is_read_that_is_longer_than_any(tmp_path: Path, length: int) -> None:
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", length) + HEADER)
    assert "header is broken" in size_or_error(tmp_path)


@given(text=st.binary(max_size=300), cut=st.integers(0, 60))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_bytes_a_checkpoint_has_it_is_a_usage_error_or_a_size(
    tmp_path: Path, text: bytes, cut: int
) -> None:
    for name in ("model.safetensors.index.json", "m.safetensors", "config.json"):
        good = GOOD[name]
        (tmp_path / name).write_bytes(good[:cut] + text + good[cut:])
        for read in (weights_gib, lambda place: model_files(str(place), None, "")):
            with contextlib.suppress(UsageError):
                read(tmp_path)
        (tmp_path / name).write_bytes(good)


INDEXES = (
    json.dumps({"weight_map": {str(n): f"{n}.safetensors" for n in range(5000)}}),
    json.dumps({"weight_map": {"a": "/etc/shadow"}}),
    json.dumps({"weight_map": {"a": "../" * 20 + "etc/shadow"}}),
    json.dumps({"weight_map": {"a": "n" * 100_000}}),
    json.dumps({"weight_map": {"a": "\0"}}),
    json.dumps({"weight_map": {"a": "\x1b]0;owned\x07"}}),
    json.dumps({"weight_map": {"a": 5}}),
    json.dumps({"weight_map": []}),
    json.dumps({"weight_map": {}}),
    '{"weight_map":' * 100_000,
    "[" * 100_000,
)


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: repr(index[:40]))
def test_an_index_tells_nothing_of_files_elsewhere_and_nothing_unprintable(
    tmp_path: Path, index: str
) -> None:
    snapshot = snapshot_in(tmp_path)
    (snapshot / "model.safetensors.index.json").unlink()
    (snapshot / "model.safetensors.index.json").write_text(index)
    found = look(str(tmp_path / "hub"), (MODEL,))
    files = model_files("org/m", None, str(tmp_path))
    for sentence in (found.lacks, found.problem, files.lacks, files.problem):
        assert len(sentence) < 800
        assert sentence.isprintable() or not sentence
    assert not files.complete
