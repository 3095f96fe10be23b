# SPDX-License-Identifier: Apache-2.0
"""Ahead of a start, on real systemd: what it reads is listed, read, told; and no start waits."""

from __future__ import annotations

import json

from tests.rig import scripted
from tests.rig.installed import CONFIG, OURS, QUICK, Agent, service_table

MIB = 1 << 20
LISTS = "/var/lib/llmagent/ahead"
WEIGHTS = "/srv/llama/model.safetensors"
UNIT = "llmagent-ahead.service"

EVICT = f"""
import os
file = os.open("{WEIGHTS}", os.O_RDONLY)
os.fsync(file)
os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
"""


def evict(agent: Agent) -> None:
    agent.box.run(["python3", "-c", EVICT])


def table(more: str = "") -> str:
    quick = QUICK.replace("settle_seconds = 20", "settle_seconds = 2")
    return service_table(**OURS).replace(QUICK, quick + more)


def test_what_a_start_reads_is_read_before_a_planned_restart_and_after_a_boot(
    agent: Agent,
) -> None:
    box = agent.box
    box.run(["dd", "if=/dev/urandom", f"of={WEIGHTS}", "bs=1M", "count=48", "status=none"])
    scripted.set_scenario(box, {})
    agent.configure(table())
    agent.wait("serving")
    box.wait_for(lambda: box.exists(f"{LISTS}/vllm"), 40, "the list of what the start read")
    listed = [json.loads(line) for line in box.read(f"{LISTS}/vllm").splitlines()]
    spans = {path: sum(length for _, length in parts) for path, *parts in listed}
    assert spans[WEIGHTS] == 48 * MIB
    # Modules that were imported, by the engine's user, of files that are root's.
    assert any(path.endswith(".so") or "/libc.so" in path for path in spans)
    assert any(path.startswith("/opt/scripted-engine/engine/") for path in spans), spans.keys()
    assert box.run(["stat", "-c", "%U %a", LISTS, f"{LISTS}/vllm"]).stdout.split()[:2] == [
        *("root", "700")
    ]

    # A restart that waits for an idle moment: the engine serves on while its files are read.
    engine = agent.pid("vllm.service")
    scripted.cue(box, "busy")
    evict(agent)
    assert box.run(["llmagent", "restart", "vllm", "--when-idle"]).returncode == 0
    box.wait_for(lambda: agent.events("ahead"), 40, "the files to be read")
    assert agent.pid("vllm.service") == engine
    (told,) = agent.events("ahead")
    assert told["data"]["read_bytes"] >= 48 * MIB
    assert told["data"]["resident_ratio"] < 1
    assert told["data"]["stopped"] == ""
    shown = box.wait_for(lambda: agent.status()["read_ahead"], 20, "the status to show it")
    assert shown["read_bytes"] == told["data"]["read_bytes"]
    assert "that a start reads were in memory" in box.run(["llmagent", "status", "vllm"]).stdout
    assert 'llmagent_service_read_ahead_resident_ratio{service="vllm"} 0.' in agent.metrics()
    box.run(["llmagent", "restart", "vllm", "--cancel"])

    # After a boot systemd reads by itself, and the start ends what is still read.
    box.reboot()
    agent.wait("serving")
    box.wait_for(lambda: len(agent.events("ahead")) == 2, 40, "what was read at the boot")
    assert agent.events("ahead")[-1]["data"]["files"] > 10
    assert box.show(UNIT, "ActiveState", "Result") == {
        "ActiveState": "inactive",
        "Result": "success",
    }

    # Who switches it off has nothing left of it.
    box.write(CONFIG, table("read_ahead = false\n"))
    box.run(["systemctl", "reload", "llmagent"])
    box.wait_for(lambda: not box.exists(f"{LISTS}/vllm"), 20, "the list to be removed")
    assert agent.status()["phase"] == "serving"


def test_a_start_ends_the_reading(agent: Agent) -> None:
    """The unit reads for long: of a list that is long, and that is read again and again."""
    box = agent.box
    box.run(["mkdir", "-p", LISTS])
    line = json.dumps([WEIGHTS, [0, MIB]])
    box.write(f"{LISTS}/vllm", f"{line}\n" * 60_000)
    for name in ("a", "b", "c", "d", "e", "f", "g", "h"):
        box.run(["cp", f"{LISTS}/vllm", f"{LISTS}/{name}"])
    box.run(["systemctl", "start", UNIT])
    assert agent.pid(UNIT) != 0
    scripted.set_scenario(box, {})
    agent.configure(table())
    agent.wait("serving")
    box.wait_for(lambda: agent.pid(UNIT) == 0, 20, "the end of the reading")
    report = [json.loads(line) for line in box.read("/run/llmagent-ahead/report").splitlines()]
    assert report[-1]["stopped"] == "it was ended"
    assert box.show(UNIT, "Result") == {"Result": "success"}
