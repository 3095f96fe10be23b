# SPDX-License-Identifier: Apache-2.0
"""The installed agent beside an engine that does its worst: its unit's limits are never reached.

What the engine prints and answers comes from a seed that no other test has, so that nothing was
tuned for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import Boot
from tests.rig import binds, paths, scripted
from tests.rig.cgroups import ProcessLimits
from tests.rig.container import Container
from tests.rig.installed import OURS, Agent, service_table

SEED = 20261129
LINES = 1500
HOSTILE = f"""
import itertools, random, re, socket, sys, threading
sys.path.insert(0, "/opt/hostile/engine")
from hostile_http import corpus

made = random.Random({SEED})
BITS = ["Traceback (most recent call last):", "NVRM: Xid (PCI:0000:01:00): 79, ", "\\x1b[31m",
        "(EngineCore pid=1) ERROR 11-28 10:00:00 [core.py:1] ", "9" * 5000, "\\U0001f600", "\\r",
        "RuntimeError: CUDA error: ", "{{'a': [", "  File \\"/x.py\\", line 1, in f", " ", "GiB, ",
        "kv_cache_dtype=", "torch.OutOfMemoryError: ", "\\u202e", "\\x00", "#", "None of ", "100% "]

def longest_line():
    line = b""
    while len(line) < 48_000:
        line += made.choice(BITS).encode() * made.choice([1, 3, 500])
    return line[:48_000] + b"\\n"

def answer(connection, pieces):
    try:
        connection.settimeout(20)
        connection.recv(65536)
        for piece in pieces():
            connection.sendall(piece)
    except OSError:
        pass
    finally:
        connection.close()

def serve(port):
    answers = itertools.cycle(made.sample(list(corpus().values()), len(corpus())))
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection, next(answers)), daemon=True).start()

port = int(re.search(r"--port[= ](\\d+)", " ".join(sys.argv))[1])
threading.Thread(target=serve, args=(port,), daemon=True).start()
for _ in range({LINES}):
    sys.stdout.buffer.write(longest_line())
print("all was said", flush=True)
threading.Event().wait()
"""

SCRAPE = """
import threading, urllib.request

def scrape():
    for _ in range(20):
        try:
            urllib.request.urlopen("http://127.0.0.1:9836/metrics", timeout=5).read()
        except OSError:
            pass

crowd = [threading.Thread(target=scrape) for _ in range(60)]
[one.start() for one in crowd]
[one.join() for one in crowd]
"""


GATE = "/run/gate"
HELD = f"""\
[Service]
ExecStart=
ExecStart=/bin/sh -c 'read go <{GATE}; exec /usr/bin/llmagent run'
"""
"""The unit's process waits before its program begins, so that all of that can be limited."""


@pytest.fixture(scope="module")
def agent(boot_for_module: Boot) -> Agent:
    agent = Agent(boot_for_module("bookworm", binds=[binds.scripted_engine()]))
    agent.install()
    return agent


@contextmanager
def restarted_within(box: Container, memory_max: int, tasks_max: int) -> Iterator[ProcessLimits]:
    """Restarts the agent with limits that the kernel of this machine enforces."""
    box.run(["mkfifo", GATE])
    box.write("/run/systemd/system/llmagent.service.d/gate.conf", HELD)
    box.run(["systemctl", "daemon-reload"])
    box.run(["systemctl", "restart", "--no-block", "llmagent"])

    def held() -> int:
        pid = int(box.show("llmagent", "MainPID")["MainPID"])
        line = box.run(["cat", f"/proc/{pid}/cmdline"], check=False).stdout
        return pid if GATE in line else 0

    pid = box.pid_on_host(box.wait_for(held, 30, "the agent's next process"))
    limits = ProcessLimits(f"llmagent-test-{pid}", memory_max, tasks_max)
    try:
        limits.hold(pid)
        # Who comes after it is held by nobody.
        box.run(["rm", "/run/systemd/system/llmagent.service.d/gate.conf"])
        box.run(["systemctl", "daemon-reload"])
        box.run(["sh", "-c", f"echo >{GATE}; rm {GATE}"])
        yield limits
    finally:
        box.run(["systemctl", "stop", "llmagent"])
        limits.remove()


def test_an_engine_that_floods_and_forges_takes_the_agent_to_no_limit_and_harms_no_other(
    agent: Agent,
) -> None:
    box = agent.box
    box.run(["cp", "-a", "/opt/scripted-engine", "/opt/hostile"])
    box.put(paths.REPO / "tests/fuzz/hostile_http.py", "/opt/hostile/engine/hostile_http.py")
    box.write("/opt/hostile/engine/main.py", HOSTILE)
    python = scripted.PYTHON.replace("scripted-engine", "hostile")
    hostile = service_table("hostile", 8001, gpus=[1], python=python, model="/srv/llama")
    scripted.set_scenario(box, {})
    agent.configure(service_table(gpus=[0], **OURS))
    agent.wait("serving")
    allowed = box.show("llmagent", "MemoryMax", "TasksMax")
    assert (allowed["MemoryMax"], allowed["TasksMax"]) == (str(384 << 20), "512")
    with restarted_within(box, 384 << 20, 512) as limits:
        agent.wait("serving")
        _flood(agent, hostile, limits)


def _flood(agent: Agent, hostile: str, limits: ProcessLimits) -> None:
    box = agent.box
    before = box.show("llmagent", "MainPID", "NRestarts")
    agent.configure(service_table(gpus=[0], **OURS), hostile)
    tail = ["journalctl", "--unit=hostile.service", "--lines=100", "--output=cat"]
    box.wait_for(lambda: "all was said" in box.run(tail, timeout=60).stdout, 180, "the flood")
    box.run(["python3", "-c", SCRAPE], timeout=120)
    box.run(["sleep", "10"])
    status = box.read(f"/proc/{before['MainPID']}/status")
    peak, threads = (
        int(found.group(1))
        for name in ("VmHWM", "Threads")
        if (found := re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)) is not None
    )
    after = box.show("llmagent", "MainPID", "NRestarts", "ActiveState")
    assert (after["MainPID"], after["NRestarts"]) == (before["MainPID"], before["NRestarts"])
    print(f"peak {peak / 1024:.0f} MiB, {threads} threads, in all {limits.peak_bytes >> 20} MiB")
    assert limits.peak_bytes < 384 << 20
    assert limits.refused_tasks == 0
    assert peak < 192 << 10, "half of what the unit allows, in KiB"
    assert threads < 128, "a quarter of what the unit allows"
    assert agent.status()["phase"] == "serving"
    assert agent.status()["restarts"] == {}


@pytest.mark.parametrize(("memory_max", "tasks_max"), [(24 << 20, 512), (384 << 20, 4)])
def test_an_agent_that_reaches_a_limit_ends_alone_and_is_back(
    agent: Agent, memory_max: int, tasks_max: int
) -> None:
    box = agent.box
    scripted.set_scenario(box, {})
    agent.configure(service_table(gpus=[0], **OURS))
    agent.wait("serving")
    engine = agent.pid("vllm")
    with restarted_within(box, memory_max, tasks_max):
        box.wait_for(
            lambda: int(box.show("llmagent", "NRestarts")["NRestarts"]) > 0, 30, "its next process"
        )
        agent.wait("serving")
        assert agent.pid("vllm") == engine
        assert box.http_get(8000, "/health").status == 200
