# SPDX-License-Identifier: Apache-2.0
"""Journal lines a second of CPU time: the agent's own path beside `journalctl -f -o json | grep`.

The agent's path decodes each entry and runs all signatures over it; grep looks for one word.
"""

from __future__ import annotations

import json

from tests.benchmarks.table.figures import keep
from tests.conftest import Boot
from tests.rig import binds

LINES = 100_000
WRITE = f"""\
for number in range({LINES}):
    print('INFO:     10.0.0.7:50000 - "POST /v1/chat/completions HTTP/1.1" 200 OK', number)
"""
OURS = f"""\
import sys, time
sys.path.insert(0, "/usr/lib/llmagent")
from agent.core.diagnosis.reader import LogReader
from agent.host.journal.follower import Follower
from agent.host.journal.unit import UnitLines, run_of
from agent.host.data.signatures import load_signatures
signatures = load_signatures()
follower = Follower(UnitLines("flood.service"), None)
assert follower.from_first(run_of("flood.service", sys.argv[1]))
reader, read, began = LogReader(signatures), 0, time.process_time()
while read < {LINES}:
    for entry in follower.drain(5000):
        if not entry.from_manager:
            reader.feed(entry.message)
            read += 1
print({LINES} / (time.process_time() - began))
"""
PEER = f"""\
import resource, subprocess
follow = ["journalctl", "-f", "--no-tail", "-o", "json", "-u", "flood.service"]
journalctl = subprocess.Popen(follow, stdout=subprocess.PIPE)
grep = ["grep", "-m1", "OK {LINES - 1}"]
subprocess.run(grep, stdin=journalctl.stdout, stdout=subprocess.DEVNULL)
journalctl.terminate()
journalctl.wait()
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print({LINES} / (used.ru_utime + used.ru_stime))
"""


def test_journal_lines_beside_journalctl_and_grep(boot: Boot) -> None:
    box = boot("bookworm", binds=[binds.agent_code()])
    box.run(
        [
            *("systemd-run", "--unit=flood", "--property=LogRateLimitBurst=1000000"),
            *("--property=RemainAfterExit=yes", "python3", "-c", WRITE),
        ]
    )
    box.wait_for(
        lambda: box.show("flood", "SubState")["SubState"] == "exited", 60, "the lines to be written"
    )
    box.run(["journalctl", "--sync"])
    run = box.show("flood", "InvocationID")["InvocationID"]
    ours = json.loads(box.run(["python3", "-c", OURS, run], timeout=120).stdout)
    peer = json.loads(box.run(["python3", "-c", PEER], timeout=120).stdout)
    print(f"\n{'journal lines/CPU second':28}{'llmagent':>12}{'journalctl|grep':>17}{'ratio':>8}")
    print(f"{f'{LINES} access lines':28}{ours:12.0f}{peer:17.0f}{ours / peer:8.2f}")
    keep("journal", {"lines": ours, "peer_lines": peer})
