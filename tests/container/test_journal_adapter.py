# SPDX-License-Identifier: Apache-2.0
"""The journal follower on real journald, of Debian 12 and 13."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.conftest import Boot
from tests.container.inside import tell_inside
from tests.rig import binds
from tests.rig.container import Container

IMPORTS: Final = """
from agent.host.journal.follower import Follower
from agent.host.journal.kernel import KernelLines
from agent.host.journal.unit import UnitLines, run_of
follower = unit_lines = None

def follow(unit, cursor=None):
    global follower, unit_lines
    unit_lines = UnitLines(unit)
    follower = Follower(unit_lines, cursor)

def sync():
    while subprocess.run(["journalctl", "--sync"]).returncode:
        time.sleep(0.05)  # journald is being restarted

def lines(limit=1_000_000):
    return [entry.message for entry in follower.drain(limit) if not entry.from_manager]

def await_line(last):
    found = []
    while last not in found:
        assert follower.wait(20), f"no {last!r} after {found[-3:]}"
        found += lines()
    return found
"""


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def box(boot_for_module: Boot, request: pytest.FixtureRequest) -> Container:
    machine = boot_for_module(request.param, binds=[binds.agent_code()])
    machine.run(["mkdir", "-p", "/var/log/journal"])
    machine.run(["journalctl", "--flush"])
    return machine


def speaker(box: Container, name: str, program: str, options: str = "") -> None:
    """Makes a oneshot service of a Python program."""
    box.write(f"/run/{name}.py", program)
    box.write(
        f"/etc/systemd/system/{name}.service",
        f"[Service]\nType=oneshot\nExecStart=/usr/bin/python3 -u /run/{name}.py\n{options}",
    )
    box.run(["systemctl", "daemon-reload"])


def ask(box: Container, program: str) -> Any:
    return tell_inside(box, IMPORTS + program)


def test_a_burst_of_20000_lines_is_read_whole_without_waiting_for_a_notice(box: Container) -> None:
    speaker(box, "burst", "for n in range(20000): print('line', n)", "LogRateLimitBurst=1000000\n")
    told = ask(
        box,
        """
follow("burst.service")
systemctl("start", "burst.service")
sync()
tell(lines() == [f"line {n}" for n in range(20000)])
tell(lines())
""",
    )
    assert told == [True, []]


def test_a_new_follower_starts_now_and_misses_no_first_line(box: Container) -> None:
    speaker(box, "fresh", "for n in range(2000): print(n)")
    told = ask(
        box,
        """
for turn in range(2):
    follow("fresh.service")
    systemctl("start", "fresh.service")
    sync()
    tell(lines() == [str(n) for n in range(2000)])
""",
    )
    assert told == [True, True]


def test_nothing_is_lost_or_doubled_while_journald_rotates_vacuums_restarts_and_dies(
    box: Container,
) -> None:
    speaker(
        box,
        "steady",
        "import time\nfor n in range(4000):\n    print(n)\n    time.sleep(0.002)\nprint('end')",
        "LogRateLimitBurst=1000000\n",
    )
    found = ask(
        box,
        """
FAULTS = [["journalctl", "--rotate"], ["journalctl", "--rotate", "--vacuum-size=1M"],
          ["systemctl", "restart", "systemd-journald"],
          ["systemctl", "kill", "-s", "KILL", "systemd-journald"]]
def break_journald():
    for fault in FAULTS * 2:
        time.sleep(0.7)
        subprocess.run(fault, check=True, capture_output=True)
follow("steady.service")
systemctl("start", "--no-block", "steady.service")
breaker = threading.Thread(target=break_journald)
breaker.start()
found = await_line("end")
breaker.join()
tell(found)
tell(follower.damaged)
""",
    )
    assert found == [[*map(str, range(4000)), "end"], 0]


def test_blob_data_is_decoded_and_a_progress_bar_is_one_entry(box: Container) -> None:
    speaker(
        box,
        "blob",
        "import os\n"
        r"os.write(1, b'\rLoading: 0%\rLoading: 50%\rLoading: 100%\n')"
        "\n"
        r"os.write(1, b'\x1b[31mred\x1b[0m\n')"
        "\n"
        r"os.write(1, b'not \xff\xfe text\n')"
        "\n"
        "os.write(1, 'größe ✓\\n'.encode())\n"
        "os.write(1, b'x' * 60000 + b'\\n')\n"
        r"os.write(1, b'one\0two\nthree\n')"
        "\n",
    )
    told = ask(
        box,
        """
follow("blob.service")
systemctl("start", "blob.service")
sync()
entries = [entry for entry in follower.drain(1000) if not entry.from_manager]
tell([entry.message for entry in entries] + [[entry.goes_on for entry in entries]])
""",
    )
    assert told[0] == "\rLoading: 0%\rLoading: 50%\rLoading: 100%"
    assert told[1] == "\x1b[31mred\x1b[0m"
    assert told[2] == "not \ufffd\ufffd text"
    assert told[3] == "größe ✓"
    # journald cuts at LineMax=48K.
    assert [len(piece) for piece in told[4:6]] == [49152, 60000 - 49152]
    assert told[6:9] == ["one", "two", "three"]
    assert told[9] == [False] * 5 + [True, False, True, False]


@pytest.mark.parametrize(
    "meanwhile", ["true", "journalctl --rotate", "systemctl kill -s KILL systemd-journald"]
)
def test_a_saved_cursor_goes_on_with_the_next_line_exactly(box: Container, meanwhile: str) -> None:
    speaker(box, "counter", "import sys\nfor n in range(100): print(n)")
    told = ask(
        box,
        f"""
follow("counter.service")
systemctl("start", "counter.service")
sync()
entries = [entry for entry in follower.drain(1000) if not entry.from_manager]
follower.close()
subprocess.run({meanwhile.split()!r}, check=True)
sync()
follow("counter.service", entries[39].cursor)
tell(lines() == [str(n) for n in range(40, 100)])
follow("counter.service", entries[99].cursor)
tell(lines())
systemctl("start", "counter.service")
sync()
tell(lines() == [str(n) for n in range(100)])
""",
    )
    assert told == [True, [], True]


def test_a_cursor_at_another_units_entry_skips_nothing(box: Container) -> None:
    speaker(box, "counter", "for n in range(10): print(n)")
    speaker(box, "stranger", "print('stranger')")
    told = ask(
        box,
        """
follow("stranger.service")
systemctl("start", "stranger.service")
sync()
cursor = [entry for entry in follower.drain(9) if entry.message == "stranger"][0].cursor
systemctl("start", "counter.service")
sync()
follow("counter.service", cursor)
tell(lines())
""",
    )
    assert told == [str(n) for n in range(10)]


def test_a_cursor_whose_entry_was_vacuumed_goes_on_with_the_oldest_one_left(
    box: Container,
) -> None:
    speaker(box, "counter", "print('line')")
    told = ask(
        box,
        """
follow("counter.service")
systemctl("start", "counter.service")
sync()
cursor = follower.drain(100)[-1].cursor
follower.close()
subprocess.run(["journalctl", "--rotate", "--vacuum-files=1"], check=True, capture_output=True)
systemctl("start", "counter.service")
sync()
follow("counter.service", cursor)
tell(lines())
try:
    follow("counter.service", "garbage")
except ValueError as failure:
    tell(str(failure))
""",
    )
    assert told == [["line"], "not a journal cursor: 'garbage'"]


def test_a_run_is_read_from_its_head_and_followed_on(box: Container) -> None:
    # journald asks /proc whose line it is: a program that has ended by then has no run.
    speaks = (
        "import os, time\nprint('run', os.environ['INVOCATION_ID'], flush=True)\ntime.sleep(0.5)"
    )
    speaker(box, "runs", speaks)
    told = ask(
        box,
        """
follow("runs.service")
for _ in range(3):
    systemctl("start", "runs.service")
sync()
entries = follower.drain(1000)
runs = list(dict.fromkeys(entry.invocation_id for entry in entries))
tell(follower.from_first(run_of("runs.service", runs[1])))
again = follower.drain(1000)
tell([entry.invocation_id for entry in again] ==
     [entry.invocation_id for entry in entries if entry.invocation_id in runs[1:]])
tell([entry.message for entry in again if not entry.from_manager] ==
     [f"run {run}" for run in runs[1:]])
tell(follower.from_first(run_of("runs.service", "0" * 32)))
tell(lines())
systemctl("start", "runs.service")
sync()
tell(len(lines()))
""",
    )
    assert told == [True, True, True, False, [], 1]


def test_systemds_own_lines_tell_how_the_run_ended(box: Container) -> None:
    speaker(box, "dies", "import os\nprint('last words')\nos.kill(os.getpid(), 9)")
    told = ask(
        box,
        """
follow("dies.service")
subprocess.run(["systemctl", "start", "dies.service"], capture_output=True)
sync()
entries = follower.drain(100)
tell([entry.message for entry in entries if entry.from_manager])
# journald does not know the invocation of a process that was gone when it came to its line.
tell(len({entry.invocation_id for entry in entries if entry.invocation_id}))
words = [entry for entry in entries if not entry.from_manager]
tell([[entry.message, entry.identifier] for entry in words])
tell(abs(words[0].realtime_seconds - time.time()) < 3600 and words[0].pid > 1)
""",
    )
    assert "dies.service: Main process exited, code=killed, status=9/KILL" in told[0]
    assert told[1:] == [1, [["last words", "python3"]], True]


def test_core_dumps_are_noticed_and_nobody_else_speaks_for_the_unit(box: Container) -> None:
    told = ask(
        box,
        """
from systemd import journal
follow("victim.service")
core = "fc2e22bc6ee647b6b90729ab34a250b1"
journal.send("Process 7 dumped core", MESSAGE_ID=core, COREDUMP_UNIT="victim.service")
journal.send("forged", UNIT="victim.service")
journal.send("forged", MESSAGE_ID="a596d6fe7bfa4994828e72309e95d61e", N_DROPPED="7")
if os.fork() == 0:
    os.setuid(65534)
    journal.send("forged", MESSAGE_ID=core, COREDUMP_UNIT="victim.service")
    os._exit(0)
os.wait()
sync()
tell(lines())
tell(unit_lines.suppressed)
""",
    )
    assert told == [["Process 7 dumped core"], 0]


def test_lines_that_journald_dropped_are_counted(box: Container) -> None:
    speaker(
        box,
        "flood",
        "import time\nfor n in range(500): print(n)\ntime.sleep(3)\nprint('end')",
        "LogRateLimitIntervalSec=2s\nLogRateLimitBurst=10\n",
    )
    found, dropped = ask(
        box,
        """
follow("flood.service")
systemctl("start", "--no-block", "flood.service")
tell(len(await_line("end")))
tell(unit_lines.suppressed)
""",
    )
    assert dropped > 0
    assert found + dropped == 501


def test_a_service_that_runs_as_an_ordinary_user_is_read_too(box: Container) -> None:
    box.run(["sh", "-c", "id person || useradd --uid 1000 person"])
    speaker(box, "personal", "print('mine')", "User=person\n")
    told = ask(
        box,
        """
follow("personal.service")
systemctl("start", "personal.service")
sync()
tell(lines())
""",
    )
    assert told == ["mine"]


def test_a_limit_leaves_the_rest_for_the_next_call(box: Container) -> None:
    speaker(box, "counter", "for n in range(10): print(n)")
    told = ask(
        box,
        """
follow("counter.service")
systemctl("start", "counter.service")
sync()
pieces = []
while piece := follower.drain(4):
    pieces.append(piece)
tell([len(piece) <= 4 for piece in pieces])
tell([entry.message for piece in pieces for entry in piece if not entry.from_manager])
""",
    )
    assert all(told[0])
    assert told[1] == [str(n) for n in range(10)]


def test_all_lines_of_a_dead_process_are_there_once_journald_was_asked_to_finish(
    box: Container,
) -> None:
    speaker(
        box,
        "victim",
        "import os\nfor n in range(3000): print(n)\nos.kill(os.getpid(), 9)",
        "LogRateLimitBurst=1000000\n",
    )
    told = ask(
        box,
        """
from agent.host.journal.sync import synchronize
for _ in range(5):
    follow("victim.service")
    subprocess.run(["systemctl", "start", "victim.service"], capture_output=True)
    tell([synchronize(20), lines() == [str(n) for n in range(3000)]])
""",
    )
    assert told == [[True, True]] * 5


def test_a_journald_that_is_away_cannot_finish(box: Container) -> None:
    told = tell_inside(
        box,
        "from agent.host.journal.sync import synchronize\ntell(synchronize(20))",
        within=["unshare", "--mount", "sh", "-c", 'mount -t tmpfs t /run && exec "$@"', "sh"],
    )
    assert told is False


def test_another_thread_can_end_the_wait(box: Container) -> None:
    told = ask(
        box,
        """
follow("silent.service")
while follower.wait(0.5):
    lines()
threading.Timer(0.2, follower.wake).start()
woken = follower.wait(600)
tell(woken)
follower.close()
""",
    )
    assert told is True


POISONED: Final = """
import os, re, subprocess, sys, time
from pathlib import Path
from agent.core.diagnosis.signatures import Signature, SignatureKind, SignatureSet
from agent.core.state.observations import LogConcluded
from agent.daemon.sources.journal import JournalSource, source_name
from agent.host.data.signatures import load_signatures
from agent.host.machine.line_mark import LineMarks

run = sys.argv[1]
known = load_signatures()
# What a pattern must never be: each "a" more doubles its time.
slow = Signature("slow", SignatureKind.NOISE, re.compile("poison (?:a|a)+$"), ("poison",))
signatures = SignatureSet((*known.signatures, slow), known.versions, known.places, known.writers)
marks, seen = LineMarks(Path("/run/marks")), []
mark = marks.of(source_name("sick"))
source = JournalSource("sick", run, None, signatures, seen.append, time.time, mark)
source.conclude(run)
while not any(isinstance(news, LogConcluded) for news in seen):
    source.look()
ends = [news for news in seen if isinstance(news, LogConcluded)]
marks.release()
lines = [line for line in source.last_lines if "poison" in line]
tell([marks.left(), str(ends[0].diagnosis.failure), lines])
"""


def test_a_line_that_ended_one_process_is_left_out_by_the_next_which_reads_the_rest(
    box: Container,
) -> None:
    fatal = "ValueError: No available memory for the cache blocks."
    speaker(box, "sick", f"print('poison ' + 'a' * 60 + '!')\nprint({fatal!r})")
    told = ask(
        box,
        f"""
systemctl("start", "sick.service")
subprocess.run(["journalctl", "--sync"], check=True)
follow("sick.service")
follower.from_first((("_SYSTEMD_UNIT=sick.service",),))
entries = [entry for entry in follower.drain(9) if not entry.from_manager]
program = {POISONED!r}
preamble = "import json\\ndef tell(value): print(json.dumps(value), flush=True)\\n"
argv = [sys.executable, "-c", preamble + program, entries[0].invocation_id]
first = subprocess.Popen(argv)
time.sleep(3)
tell([first.poll(), entries[0].cursor])
first.kill()
first.wait()
for _ in range(2):
    subprocess.run(argv, check=True, timeout=20)
""",
    )
    (ended, cursor), second, third = told
    assert ended is None, "the first process did not come past the line"
    assert second == [{"journal:sick": cursor}, "oom-kv-none", []]
    assert third == [{}, "oom-kv-none", []], "told once, and left out as long as it is read"
