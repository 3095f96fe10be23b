# SPDX-License-Identifier: Apache-2.0
"""The program that fetches a model, run by the real huggingface_hub against a hub of our own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.core.diagnosis.reader import LogReader
from agent.core.failures.classes import FailureClass
from agent.fetch.hub import _place
from agent.host.data.signatures import load_signatures
from tests.rig import paths
from tests.rig.hub import COMMIT, MODEL, Fault, Hub, etag_of, made_up_model

F = FailureClass
FIRST = "model-00001-of-00002.safetensors"
SECOND = "model-00002-of-00002.safetensors"
TOKEN = "hf_abcdefghijklmnop"


@dataclass
class Fetcher:
    """Runs the program with a cache of its own."""

    home: Path
    hub: Hub
    port: int
    program: tuple[str, ...] = ("-m", "agent.fetch")

    @property
    def storage(self) -> Path:
        return self.home / "hub" / f"models--{MODEL.replace('/', '--')}"

    @property
    def snapshot(self) -> Path:
        return self.storage / "snapshots" / COMMIT

    def begin(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        python = paths.part("vllm") / "bin/python"
        clean = {"PATH": os.environ["PATH"], "PYTHONPATH": str(paths.REPO), "HF_TOKEN": TOKEN}
        clean |= {"HF_ENDPOINT": f"http://127.0.0.1:{self.port}", "HF_HOME": str(self.home)}
        clean |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.Popen(
            [python, *self.program, f"--model={MODEL}", "--reserve=0", *words],
            env={**clean, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str, **environment: str) -> tuple[int, str]:
        process = self.begin(*words, **environment)
        said, _ = process.communicate(timeout=60)
        return process.returncode, said

    def fetched(self, name: str) -> bool:
        return (self.snapshot / name).exists() and (
            (self.snapshot / name).read_bytes() == self.hub.files[name]
        )


@pytest.fixture
def fetcher(tmp_path: Path) -> Iterator[Fetcher]:
    """Returns a fetcher from a hub of its own with a model of two shards of 2 MiB."""
    hub = Hub(made_up_model())
    server = hub.serve()
    yield Fetcher(tmp_path / "hf", hub, server.server_address[1])
    hub.fault = Fault()
    server.shutdown()
    server.server_close()


def class_of(said: str) -> FailureClass | None:
    reader = LogReader(load_signatures())
    for line in said.splitlines():
        reader.feed(line)
    return reader.diagnosis().failure


def test_what_vllm_loads_is_fetched_and_nothing_else(fetcher: Fetcher) -> None:
    status, said = fetcher.run()
    assert status == 0, said
    assert f"llmagent-fetch progress done={4 << 20} total={4 << 20}" in said
    assert all(fetcher.fetched(name) for name in (FIRST, SECOND, "config.json", "tokenizer.json"))
    others = ("pytorch_model.bin", "original/consolidated.00.pth", "README.md")
    assert not any((fetcher.snapshot / name).exists() for name in others)
    assert (fetcher.storage / "refs/main").read_text() == COMMIT


def test_a_first_download_is_compared_with_the_hash_that_the_hub_gave(fetcher: Fetcher) -> None:
    fetcher.hub.fault = Fault(corrupt=True)
    status, said = fetcher.run()
    assert status != 0, said
    assert "llmagent-fetch removed" in said
    assert "its SHA-256 is not the hub's" in said
    assert "llmagent-fetch complete" not in said
    assert class_of(said) is F.HUB_UNREACHABLE
    assert not (fetcher.snapshot / FIRST).exists()
    large = {etag_of(name, fetcher.hub.files[name]) for name in (FIRST, SECOND)}
    assert not large & {file.name for file in (fetcher.storage / "blobs").iterdir()}
    fetcher.hub.fault = Fault()
    status, said = fetcher.run()
    assert status == 0, said
    assert fetcher.fetched(FIRST)
    assert fetcher.fetched(SECOND)


def test_so_is_a_small_file_with_what_git_calls_it(fetcher: Fetcher) -> None:
    fetcher.hub.fault = Fault(corrupt_small=True)
    status, said = fetcher.run()
    assert status != 0, said
    assert "its hash is not the hub's" in said
    assert class_of(said) is F.HUB_UNREACHABLE
    assert not (fetcher.snapshot / "config.json").exists()
    fetcher.hub.fault = Fault()
    status, said = fetcher.run()
    assert status == 0, said
    assert fetcher.fetched("config.json")


BY_THE_HUB_ITSELF = """
import sys
from agent.fetch import __main__ as program, hub
hub.LARGEST_OVER_HTTP = 0  # as for a file that is too large, or that Xet fetches
sys.exit(program.main())
"""


def test_what_huggingface_hub_fetched_itself_is_compared_too(fetcher: Fetcher) -> None:
    fetcher.program = ("-c", BY_THE_HUB_ITSELF)
    fetcher.hub.fault = Fault(corrupt=True)
    status, said = fetcher.run()
    assert status != 0, said
    assert "its SHA-256 is not the hub's" in said
    assert not any((fetcher.snapshot / name).exists() for name in (FIRST, SECOND))
    fetcher.hub.fault = Fault()
    status, said = fetcher.run()
    assert status == 0, said
    assert fetcher.fetched(FIRST)


@pytest.mark.parametrize(
    "lie",
    [
        Fault(etag="../../../own"),
        Fault(commit="../../../../own-directory"),
        Fault(commit="/{home}/own-directory"),
        Fault(name="../../../../own.json"),
        Fault(name="/{home}/own.json"),
        Fault(name="a/../../../../../own.json"),
    ],
    ids=lambda lie: "".join((lie.etag, lie.commit, lie.name)),
)
def test_a_hub_that_names_other_places_has_nothing_written_or_removed_there(
    fetcher: Fetcher, lie: Fault
) -> None:
    """By a hash, a commit or a file's name; the cache is two directories below the home's."""
    home = fetcher.home.parent
    own = [home / "own", home / "own.json", home / "own-directory/config.json"]
    for file in own:
        file.parent.mkdir(exist_ok=True)
        file.write_text("the user's")
    named = {
        key: getattr(lie, key).format(home=str(home)[1:]) for key in ("etag", "commit", "name")
    }
    fetcher.hub.fault = Fault(**named)
    status, said = fetcher.run()
    assert status != 0, said
    assert [file.read_text() for file in own] == ["the user's"] * 3
    below = {file for file in home.rglob("*") if fetcher.home not in (file, *file.parents)}
    assert below == {*own, home / "own-directory"}


def test_a_token_is_for_one_host_by_one_scheme() -> None:
    assert _place("https://hub.co/a") == _place("https://HUB.co/b")
    assert _place("https://hub.co/a") != _place("http://hub.co/a")
    assert _place("https://hub.co/a") != _place("https://cdn.hub.co/a")


def test_a_killed_fetch_goes_on_where_it_ended(fetcher: Fetcher) -> None:
    fetcher.hub.files = made_up_model(mib=32)
    fetcher.hub.fault = Fault(stall_after=25 << 20)
    process = fetcher.begin()
    deadline = time.monotonic() + 30
    while min(fetcher.hub.sent.get(name, 0) for name in (FIRST, SECOND)) < 25 << 20:
        assert time.monotonic() < deadline, "the hub was never asked"
        time.sleep(0.05)
    time.sleep(0.3)
    process.kill()
    process.communicate()
    fetcher.hub.fault = Fault()
    status, said = fetcher.run()
    assert status == 0, said
    assert fetcher.fetched(FIRST)
    assert fetcher.fetched(SECOND)
    for name in (FIRST, SECOND):
        # huggingface_hub writes 10 MiB at a time: less than that of each file comes twice.
        assert fetcher.hub.sent[name] - (32 << 20) < 10 << 20


def test_a_complete_model_is_not_sent_again(fetcher: Fetcher) -> None:
    fetcher.run()
    before = dict(fetcher.hub.sent)
    status, said = fetcher.run()
    assert status == 0, said
    assert fetcher.hub.sent == before
    assert "missing=0" in said


def test_a_connection_that_breaks_off_again_and_again_still_completes(fetcher: Fetcher) -> None:
    fetcher.hub.files = made_up_model(mib=32)
    fetcher.hub.fault = Fault(cut_after=12 << 20)
    status, said = fetcher.run()
    assert status == 0, said
    assert fetcher.fetched(FIRST)


@pytest.mark.parametrize(
    ("refuse", "expected"),
    [
        ("gated", F.GATED_REPO),
        ("missing", F.REPO_NOT_FOUND),
        ("bad-token", F.HUB_AUTH),
        ("rate-limit", F.HUB_RATE_LIMIT),
        ("broken", F.HUB_UNREACHABLE),
    ],
)
def test_a_refusal_of_the_hub_has_its_class(
    fetcher: Fetcher, refuse: str, expected: FailureClass
) -> None:
    fetcher.hub.fault = Fault(refuse=refuse)
    status, said = fetcher.run()
    assert (status, class_of(said)) == (1, expected), said
    assert TOKEN not in said


def test_a_hub_that_is_away_has_its_class(fetcher: Fetcher) -> None:
    status, said = fetcher.run(HF_ENDPOINT="http://127.0.0.1:9")
    assert (status, class_of(said)) == (1, F.HUB_UNREACHABLE), said


def test_a_token_that_cannot_be_one_is_never_printed(fetcher: Fetcher) -> None:
    status, said = fetcher.run(HF_TOKEN=f"{TOKEN}\nX")
    assert TOKEN not in said
    assert (status, class_of(said)) in ((0, None), (1, F.HUB_AUTH)), said


def test_a_disk_without_room_is_told_before_anything_large_is_fetched(fetcher: Fetcher) -> None:
    status, said = fetcher.run(f"--reserve={1 << 60}")
    assert (status, class_of(said)) == (1, F.DISK_FULL), said
    assert re.search(rf"plan files=2 total={4 << 20} missing={4 << 20} free=\d+ reserve=", said)
    assert FIRST not in fetcher.hub.sent


def test_a_download_that_broke_off_is_removed_unless_somebody_goes_on_with_it(
    fetcher: Fetcher,
) -> None:
    blobs = fetcher.storage / "blobs"
    blobs.mkdir(parents=True)
    other_model = fetcher.home / "hub/models--org--other/blobs"
    other_model.mkdir(parents=True)
    left, open_one = blobs / "aa.0123abcd.incomplete", blobs / "bb.0123abcd.incomplete"
    old, foreign = blobs / "cc.incomplete", other_model / "dd.0123abcd.incomplete"
    for file in (left, open_one, old, foreign):
        file.write_bytes(b"half")
    for file in (open_one, old, foreign):
        os.utime(file, (0, 0))
    with open_one.open("ab"):
        status, said = fetcher.run()
    assert status == 0, said
    assert [file.exists() for file in (left, old, open_one, foreign)] == [False, False, True, True]
    assert said.count("llmagent-fetch removed") == 2


def test_a_repair_removes_only_what_is_not_the_hubs(fetcher: Fetcher) -> None:
    fetcher.run()
    blob = fetcher.storage / "blobs" / etag_of(SECOND, fetcher.hub.files[SECOND])
    content = bytearray(blob.read_bytes())
    content[12345] ^= 1
    blob.write_bytes(content)
    (fetcher.snapshot / "tokenizer.json").unlink()
    fetcher.hub.sent.clear()
    status, said = fetcher.run("--repair")
    assert status == 0, said
    assert fetcher.fetched(SECOND)
    assert fetcher.fetched("tokenizer.json")
    assert SECOND in fetcher.hub.sent
    assert FIRST not in fetcher.hub.sent


def test_without_huggingface_hub_it_says_so(fetcher: Fetcher) -> None:
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-S", "-c", "import sys; sys.path.insert(0, sys.argv.pop(1)); "
         "import runpy; runpy.run_module('agent.fetch', run_name='__main__', alter_sys=True)",
         str(paths.REPO), f"--model={MODEL}"],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "huggingface_hub" in done.stdout


def test_it_ends_at_once_when_it_is_asked_to(fetcher: Fetcher) -> None:
    fetcher.hub.fault = Fault(stall_after=1 << 16)
    process = fetcher.begin()
    while not fetcher.hub.sent.get(FIRST):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGTERM
