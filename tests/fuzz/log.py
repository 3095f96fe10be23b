# SPDX-License-Identifier: Apache-2.0
"""The border of the logs: an engine's journal and the kernel's, made of the signatures' examples.

An input is a log of several lines. A new reader takes it, as after a restart, and so does one that
lives as long as the border: what it keeps must not grow.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial

from agent.cli.diagnose import human, json_of
from agent.core.diagnosis.reader import Diagnosis, LogReader
from agent.core.secrets import without_quotations
from agent.host.data.signatures import load_signatures
from agent.host.data.xids import load_xids
from tests.fuzz.driver import Border
from tests.given.engine_logs import SERVING, failed, v1
from tests.given.hostile.words import CHANNELS
from tests.given.yardstick import yardsticks

MOST = 30
"""Yardsticks for one line: three times what a pattern is held to."""

MOST_CHARACTERS = 256 << 10
"""Of a diagnosis: each fact and each piece of evidence has a line of at most 1,200."""

KERNEL = (
    "NVRM: Xid (PCI:0000:01:00): 79, pid=1234, name=python3, GPU has fallen off the bus.",
    "[ 12.345678] [  T123] NVRM: Xid (PCI:0000:01:00): 154, GPU recovery action changed from 0x0"
    " (None) to 0x2 (Node Reboot Required)",
    "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=x,mems_allowed=0,global_oom,"
    "task_memcg=/system.slice/vllm.service,task=python3,pid=1234,uid=998",
)
CARRIED = (
    "Nov 28 16:34:02 host python3[94]: ",
    "2026-11-28T16:34:02.123456Z stdout F ",
    "vllm-1  | ",
    "(EngineCore_DP0 pid=42) ERROR 11-28 16:34:02 [core.py:97] ",
    "\x1b[1;36m(APIServer pid=1)\x1b[0;0m INFO 11-28 16:34:02 [api_server.py:1] ",
    "Traceback (most recent call last):\n",
    '  File "/opt/vllm/vllm/v1/engine/core.py", line 9, in run\n',
    "\r",
    " 45%|####5     | 9/20 [00:01<00:01,  8.9it/s]",
)


def log() -> Border:
    """Return the border; its seeds are whole logs, its words all examples and their beginnings."""
    signatures, xids = load_signatures(with_examples=True), load_xids()
    examples = [example for s in signatures.signatures for example in s.examples]
    lasting = LogReader(signatures)

    def all_read(fresh: LogReader, line: str) -> None:
        fresh.feed(line)
        lasting.feed(line)
        xids.read(line)
        without_quotations(line)

    def take(content: bytes) -> None:
        fresh = LogReader(signatures)
        for raw in content.split(b"\n"):
            line = raw.decode(errors="replace")
            took = yardsticks(partial(all_read, fresh, line), MOST)
            assert took <= MOST, f"{took:.0f} yardsticks for a line of {len(line)} characters"
            assert xids.read(line) is None or line.startswith(("NVRM: ", "["))
        for reader in (fresh, lasting):
            _whole(reader.diagnosis())
            assert all(len(kept) <= 500 for kept in reader.tail)

    seeds = [failed(example) for example in examples]
    seeds += [f"{SERVING}\n{v1(example)}" for example in examples[::7]]
    seeds += ["\n".join(lines("x 'y' z")) for lines in CHANNELS.values()]
    words = [*examples, *CARRIED, *KERNEL, *(w.split(" ")[0] for w in examples)]
    coded = [seed.encode() for seed in (*seeds, *KERNEL)]
    return Border("log", take, coded, tuple(dict.fromkeys(word.encode() for word in words)))


def _whole(diagnosis: Diagnosis) -> None:
    """Show the diagnosis in each form that leaves the reader."""
    assert len(json.dumps(asdict(diagnosis), ensure_ascii=False)) < MOST_CHARACTERS
    json.loads(json_of(diagnosis))
    assert all(line.isprintable() for line in human(diagnosis).split("\n"))
