# SPDX-License-Identifier: Apache-2.0
"""Where the seconds of a real vLLM's start go, and which of them each lever takes away.

Usage: python -m tests.benchmarks.starts [PART...], of `recovery`, `levers` and `cold`; all by
default.

`recovery` is one machine: a start with empty caches; after `kill -9` of the engine one by systemd
alone, with the unit as `llmagent render` prints it (Restart=always); and one by llmagent. `levers`
are starts of the same unit with one thing changed by a drop-in. `cold` is a start with warm caches
and an empty page cache, without and with what the agent reads ahead. Stages are read by the agent's
own reader from the journal's times; the first token is that of a request that is asked again and
again.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from agent.core.diagnosis.reader import LogReader
from agent.core.stages.stage import Stage
from agent.host.data.signatures import load_signatures
from tests.benchmarks.table.figures import keep
from tests.rig import binds
from tests.rig.container import Container
from tests.rig.installed import CONFIG, Agent

MODEL = "/srv/models/tiny-llama-awq"
TOML = f"""\
[service.vllm]
model = "{MODEL}"
python = "/opt/vllm/bin/python"
quantization = "awq"
kv_cache_dtype = "fp8"
max_model_len = 1024
max_num_seqs = 8
gpu_memory_utilization = 0.2
"""
DROP_IN = "/run/systemd/system/vllm.service.d/lever.conf"
LIMIT_SECONDS = 300
CACHE = "/var/cache/vllm/vllm"
LISTS = "/root/lists"
AHEAD = "PYTHONPATH=/usr/lib/llmagent python3 -BsS -m agent.tasks.ahead"
EVICT = """
import os, sys
for top in sys.argv[1:]:
    for where, _, names in os.walk(top):
        for name in names:
            try:
                file = os.open(os.path.join(where, name), os.O_RDONLY)
            except OSError:
                continue
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)
"""
LEVERS = {
    "as rendered": "",
    "no stored artifact (VLLM_USE_AOT_COMPILE=0)": "Environment=VLLM_USE_AOT_COMPILE=0",
    "modules without bytecode": "Environment=PYTHONPYCACHEPREFIX=/run/nothing",
    "python -O": "Environment=PYTHONOPTIMIZE=1",
}
"""Each is one drop-in over the unit as it is rendered."""

CACHES_OF_ITS_OWN = frozenset({"no stored artifact (VLLM_USE_AOT_COMPILE=0)"})
"""What vLLM compiles then lies under another hash: the second start is the one to compare."""


@dataclass(frozen=True, slots=True)
class Told:
    """One start: seconds by stage, and from what began it to the first token."""

    name: str
    stages: dict[Stage, float]
    to_first_token: float

    @property
    def around(self) -> float:
        """What is no stage: from the kill to the next process, and from ready to the token."""
        return self.to_first_token - sum(self.stages.values())


class Bench:
    """One machine with real vLLM; the package is installed, the agent runs when it is to."""

    def __init__(self, box: Container) -> None:
        self.box = box
        self.signatures = load_signatures()

    def prepare(self) -> None:
        """Writes the unit that `llmagent render` prints, and has systemd alone keep it."""
        agent = Agent(self.box)
        agent.install()
        self.box.run(["systemctl", "stop", "llmagent"])
        self.box.write(CONFIG, TOML)
        unit = self.box.run(["llmagent", "render", "vllm"], timeout=60).stdout
        self.box.write("/etc/llmagent/units/vllm.service", unit)
        self.box.run(["systemctl", "link", "/etc/llmagent/units/vllm.service"])

    def started(self, name: str) -> Told:
        """Starts the unit from nothing and waits for its first token."""
        began = time.monotonic()
        self.box.run(["systemctl", "start", "vllm"])
        return self.waited(name, began, "")

    def killed(self, name: str) -> Told:
        """Kills the engine's process as a crash would, and waits for a token of the next run."""
        before = self.invocation()
        began = time.monotonic()
        self.box.run(["pkill", "-9", "-f", "VLLM::EngineCore"])
        return self.waited(name, began, before)

    def waited(self, name: str, began: float, before: str) -> Told:
        """Waits for a token of a run after `before`."""
        asked = {"model": MODEL, "prompt": "hello", "max_tokens": 1, "ignore_eos": True}

        def answered() -> bool:
            if self.invocation() == before:
                return False
            return self.box.http_post(8000, "/v1/completions", asked, timeout=20).status == 200

        self.box.wait_for(answered, LIMIT_SECONDS, "a token")
        return Told(name, self.stages(), time.monotonic() - began)

    def invocation(self) -> str:
        """The present run of the unit."""
        return self.box.show("vllm.service", "InvocationID")["InvocationID"]

    def stages(self) -> dict[Stage, float]:
        """Reads the present run's journal as the agent does."""
        argv = ["journalctl", "--no-pager", "--all", "-o", "json", "-u", "vllm.service"]
        reader, present = LogReader(self.signatures), self.invocation()
        for line in self.box.run(argv).stdout.splitlines():
            entry = json.loads(line)
            at = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
            message = entry["MESSAGE"]
            text = message if isinstance(message, str) else bytes(message).decode(errors="replace")
            if entry.get("INVOCATION_ID") == present:
                reader.began(at)
            elif entry.get("_SYSTEMD_INVOCATION_ID") == present:
                reader.feed(text, at)
        return dict(reader.stages.seconds)

    def again(self, name: str) -> Told:
        """Ends what runs, and starts it."""
        self.stop()
        return self.started(name)

    def evict(self) -> None:
        """Lets the kernel forget what of the engine and the model is in memory."""
        self.box.run(["python3", "-c", EVICT, "/opt/vllm", MODEL, CACHE], timeout=300)

    def what_it_read(self) -> dict[str, int]:
        """Lists what the start of the present run has read, as the agent does."""
        group = self.box.show("vllm.service", "ControlGroup")["ControlGroup"]
        find = f"cat /sys/fs/cgroup{{,/systemd}}{group}/cgroup.procs 2>/dev/null"
        pids = self.box.run(["bash", "-c", find], check=False).stdout.split()
        take = f"{AHEAD} take --root /opt/vllm --root {CACHE} --model {MODEL} {' '.join(pids)}"
        self.box.run(["mkdir", "-p", LISTS])
        done = self.box.run(["bash", "-c", f"{take} >{LISTS}/vllm"], timeout=300)
        counted: dict[str, int] = json.loads(done.stderr.splitlines()[-1])
        return counted

    def read_ahead(self) -> dict[str, int]:
        """Reads what is listed, with nothing else at work."""
        self.box.run(["bash", "-c", f"{AHEAD} read {LISTS} /root/report"], timeout=300)
        came: dict[str, int] = json.loads(self.box.read("/root/report"))
        return came

    def stop(self) -> None:
        """Ends the unit at once."""
        self.box.run(["systemctl", "kill", "--signal=SIGKILL", "vllm"], check=False)
        self.box.run(["systemctl", "stop", "vllm"], timeout=120)


def recovery(bench: Bench) -> Iterator[Told]:
    yield bench.started("empty caches")
    yield bench.killed("kill -9, systemd alone")
    bench.box.run(["systemctl", "start", "llmagent"])
    Agent(bench.box).wait("serving", seconds=LIMIT_SECONDS)
    yield bench.killed("kill -9, llmagent")


def levers(bench: Bench) -> Iterator[Told]:
    bench.started("to fill the caches")
    for name, line in LEVERS.items():
        bench.stop()
        bench.box.write(DROP_IN, f"[Service]\n{line}\n")
        bench.box.run(["systemctl", "daemon-reload"])
        if name in CACHES_OF_ITS_OWN:
            bench.started("to fill them")
            bench.stop()
        yield bench.started(name)
    bench.stop()
    bench.box.write(DROP_IN, "[Service]\n")
    small = TOML.replace("gpu_memory_utilization = 0.2", "kv_cache_memory_bytes = 268435456")
    bench.box.write("/root/small.toml", small)
    unit = bench.box.run(["llmagent", "render", "vllm", "--config", "/root/small.toml"]).stdout
    bench.box.write("/etc/llmagent/units/vllm.service", unit)
    bench.box.run(["systemctl", "daemon-reload"])
    yield bench.started("a KV cache of 256 MiB")


def cold(bench: Bench) -> Iterator[Told]:
    bench.started("to fill the caches")
    yield bench.again("warm page cache")
    listed = bench.what_it_read()
    print(f"a start reads {listed['files']} files, {listed['size_bytes'] / 2**30:.2f} GiB")
    bench.evict()
    yield bench.again("cold page cache")
    bench.evict()
    bench.stop()
    began = time.monotonic()
    came = bench.read_ahead()
    took = time.monotonic() - began
    share = came["resident_bytes"] / came["size_bytes"]
    print(f"{share:.0%} were in memory; {came['read_bytes'] / 2**30:.2f} GiB read in {took:.1f} s")
    yield bench.again("cold page cache, read ahead")


PARTS = {"recovery": recovery, "levers": levers, "cold": cold}

STAGES = tuple(s for s in Stage if s not in (Stage.DOWNLOAD, Stage.WARM_UP, Stage.GRAPHS))
"""Those of a CPU and a local model."""


def head() -> str:
    columns = [*(s.value for s in STAGES), "around it", "first token"]
    return f"{'':44}" + "".join(f"{name:>14}" for name in columns)


def line(row: Told) -> str:
    """Returns a column a stage."""
    seconds = [*(row.stages.get(s, 0.0) for s in STAGES), row.around, row.to_first_token]
    return f"{row.name:44}" + "".join(f"{n:>14.1f}" for n in seconds)


def main(parts: list[str]) -> int:
    for part in parts or list(PARTS):
        print(f"\n{part}: seconds by stage, and to the first token\n{head()}", flush=True)
        rows = []
        with Container("bookworm", binds=[binds.vllm(), binds.models()]) as box:
            bench = Bench(box)
            bench.prepare()
            for row in PARTS[part](bench):
                rows.append(row)
                print(line(row), flush=True)
        if part == "recovery":
            alone, ours = rows[1], rows[2]
            print(
                f"llmagent / systemd alone: {ours.to_first_token / alone.to_first_token:.2f}",
                end="",
            )
            keep(
                "starts",
                {"killed_seconds": ours.to_first_token, "alone_seconds": alone.to_first_token},
            )
            start = min(sum(row.stages.values()) for row in rows[1:])
            same = (ours.around + start) / (alone.around + start)
            print(f"; {same:.2f} if both starts had taken the {start:.0f} s of the shorter one")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
