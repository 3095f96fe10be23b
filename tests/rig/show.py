# SPDX-License-Identifier: Apache-2.0
"""`make demo`: from a .deb to a served model that comes back after a kill, and through a heat wave.

Everything is real but the GPU: systemd boots in a container, apt installs the package, vLLM's CPU
build serves a small Llama with AWQ weights and an FP8 KV cache. The GPU is a simulated NVML with
its nvidia-smi; vLLM does not use it. What is printed is what llmagent, vLLM and systemd say.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from tests.rig import binds, paths, show_heat
from tests.rig.container import Container
from tests.rig.nvsim import MachineGpus

GIB = 2**30
MODEL = "/srv/models/tiny-llama-awq"
AGENT_TOML = f"""\
[service.vllm]
model = "/srv/models/tiny-llama-awq"
python = "/opt/vllm/bin/python"
quantization = "awq"
kv_cache_dtype = "fp8"
max_model_len = 1024
max_num_seqs = 8
gpu_memory_utilization = 0.95     # too much for this machine, on purpose
# On a CPU vLLM 0.32 stores what it compiled, cannot load it, and compiles again: 4 s of each start.
environment = {{ VLLM_USE_AOT_COMPILE = "0" }}

[service.vllm.expect]
linear_kernel = "marlin"          # what a GPU would run; this CPU cannot

[service.vllm.recovery]
min_max_model_len = 512
{show_heat.AGENT_TOML}"""
LIMIT_SECONDS = 420
WIDTH = 150
"""Evidence lines are shown as far as a terminal has room; `llmagent events` has them whole."""
METRICS = (
    "llmagent_build_info",
    'phase="serving"',
    "llmagent_service_restarts_total",
    "llmagent_service_start_duration_seconds",
    'setting="gpu_memory_utilization"',
    'verdict="contradicted"} 1',
    "llmagent_source_up",
    "llmagent_gpu_power_limit_watts",
    "llmagent_gpu_temperature_celsius",
    "process_resident_memory_bytes",
)

COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(code: int, text: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if COLOUR else text


class Show:
    """Prints what happens, each line with the seconds since the beginning."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self._live = False

    def title(self, text: str) -> None:
        self._end_live()
        print(f"\n{paint(1, '== ' + text)}", flush=True)

    def line(self, text: str, colour: int = 0) -> None:
        self._end_live()
        stamp = paint(2, f"{time.monotonic() - self.began:5.0f} s")
        print(f"{stamp}  {paint(colour, text) if colour else text}", flush=True)

    def live(self, text: str) -> None:
        """Shows a line that the next one replaces; on a terminal only."""
        if COLOUR:
            stamp = paint(2, f"{time.monotonic() - self.began:5.0f} s")
            print(f"\r\x1b[K{stamp}  {text[:110]}", end="", flush=True)
            self._live = True

    def output(self, text: str) -> None:
        self._end_live()
        print(textwrap.indent(text.rstrip(), "         "), flush=True)

    def _end_live(self) -> None:
        if self._live:
            print("\r\x1b[K", end="")
            self._live = False


RED, YELLOW, GREEN = 31, 33, 32
EVENT_COLOUR = {
    **dict.fromkeys(("failure", "died", "held", "throttled", "heat-warning", "heat-critical"), RED),
    **dict.fromkeys(("learned", "remedy", "power-lowered"), YELLOW),
    **dict.fromkeys(("serving", "throttle-over", "heat-over", "power-raised"), GREEN),
}


class Follower:
    """Prints the agent's events as they come, and its progress between them."""

    def __init__(self, show: Show, box: Container) -> None:
        self._show = show
        self._box = box
        self._last = 0
        self._last_of: dict[str, int] = {}
        self._phase = ""

    def until(self, *kinds: str) -> None:
        """Follows until an event of each kind was told that was not told before the call."""
        before = dict(self._last_of)
        end = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < end:
            self._tell_events()
            if all(self._last_of.get(kind, 0) > before.get(kind, 0) for kind in kinds):
                return
            self._tell_progress()
            time.sleep(0.5)
        raise SystemExit(f"no {kinds} after {LIMIT_SECONDS} s:\n{self._box.tail()}")

    def _tell_events(self) -> None:
        out = self._box.run(["llmagent", "events", "--format", "json"], check=False).stdout
        for event in map(json.loads, out.splitlines()):
            if event["id"] <= self._last:
                continue
            self._last = event["id"]
            kind = event["kind"]
            who = event["service"] or "llmagent"
            self._show.line(f"{who}: {event['message']}", EVENT_COLOUR.get(kind, 0))
            for line in event["data"].get("evidence", [])[1:3]:
                self._show.output(f"| {line[:WIDTH]}")
            self._last_of[kind] = event["id"]

    def _tell_progress(self) -> None:
        out = self._box.run(["llmagent", "status", "--format", "json"], check=False).stdout
        service = json.loads(out)["services"].get("vllm") if out else None
        if service is None or service["phase"] not in ("starting", "verifying"):
            return
        progress = service["progress"] or {"what": "", "done": None, "detail": ""}
        done = "" if progress["done"] is None else f" {progress['done']:.0%}"
        phase = service["engine_phase"] if service["phase"] == "starting" else "verifying"
        if phase != self._phase:
            self._phase = phase
            self._show.line(f"vllm: ... {phase}", 36)
        self._show.live(f"vllm: ... {phase}: {progress['what']}{done} {progress['detail']}")


def main() -> int:
    show = Show()
    show.title("The package")
    subprocess.run([paths.REPO / "packaging/build-deb"], check=True, stdout=subprocess.DEVNULL)
    deb = max((paths.REPO / "dist").glob("llmagent_*_all.deb"), key=lambda f: f.stat().st_mtime)
    show.line(f"built dist/{deb.name}, {deb.stat().st_size / 1024:.0f} KiB")
    shown = [binds.vllm(), binds.models(), binds.simulated_gpus()]
    with Container("bookworm", binds=shown, memory_limit=6 * GIB) as box:
        version = box.run(["systemctl", "--version"]).stdout.splitlines()[0]
        show.line(f"a Debian 12 machine of 6 GiB booted: {version}")
        play(show, box, deb)
    show.title(f"Done in {time.monotonic() - show.began:.0f} s; the machine is gone again")
    return 0


def play(show: Show, box: Container, deb: Path) -> None:
    gpus = MachineGpus(box)
    gpus.install("rtx4090")
    show.line("a simulated GPU")
    show.output(show_heat.nvidia_smi(box))
    said = box.install(deb)
    show.line("apt-get install ./" + deb.name)
    show.output("\n".join(said.splitlines()[-3:]))
    show.output(box.run(["systemctl", "is-active", "llmagent"]).stdout)

    show.title("The configuration: /etc/llmagent/agent.toml")
    box.write("/etc/llmagent/agent.toml", AGENT_TOML)
    show.output(AGENT_TOML)
    show.line("llmagent check (asks the installed vLLM for its flags)")
    show.output(box.run(["llmagent", "check"], timeout=120).stdout)
    show.line("systemctl reload llmagent")
    box.run(["systemctl", "reload", "llmagent"])

    show.title("vLLM fails, llmagent finds out why, and starts it with what fits")
    follower = Follower(show, box)
    follower.until("serving")

    show.title("Asked and got: llmagent verify")
    show.output(box.run(["llmagent", "verify"], check=False, timeout=120).stdout)

    show.title("A completion from the model")
    show.output(completion(box))

    show.title("kill -9 of the engine's process")
    box.run(["pkill", "-9", "-f", "VLLM::EngineCore"])
    killed = time.monotonic()
    show.line("pkill -9 -f VLLM::EngineCore")
    follower.until("serving")
    show.line(f"back after {time.monotonic() - killed:.0f} s, without a person", 32)
    show.output(completion(box))

    heat_wave(show, follower, gpus)

    show.title("A scrape of http://127.0.0.1:9836/metrics (some of it)")
    body = box.http_get(9836, "/metrics").body
    lines = [line for line in body.splitlines() if any(part in line for part in METRICS)]
    show.output("\n".join(line for line in lines if not line.startswith("#")))
    show.title("llmagent status")
    show.output(box.run(["llmagent", "status"]).stdout)
    show.title("What happened: llmagent events")
    show.output(box.run(["llmagent", "events"]).stdout)


def heat_wave(show: Show, follower: Follower, gpus: MachineGpus) -> None:
    box, cool, hot = gpus.box, show_heat.ROOM_CELSIUS, show_heat.HOT_ROOM_CELSIUS
    show.title("A heat wave")
    show_heat.works_hard(gpus)
    show.line(f"the simulated GPU is at full load in a room of {cool} C; the agent set its limit")
    show.output(show_heat.nvidia_smi(box))
    show_heat.room(gpus, hot)
    show.line(f"the room: {cool} -> {hot} C", RED)
    follower.until("throttled", "power-lowered")
    show.line("llmagent status (its GPU)")
    show.output(show_heat.status_of_gpus(box))
    follower.until("throttle-over")
    show.line(f"the room still has {hot} C, and the GPU is no longer slowed down")
    show.output(show_heat.nvidia_smi(box))
    show_heat.room(gpus, cool)
    show.line(f"the room: {hot} -> {cool} C", GREEN)
    follower.until("power-raised")
    show.line("llmagent status (its GPU)")
    show.output(show_heat.status_of_gpus(box))
    show.output(show_heat.nvidia_smi(box))


def completion(box: Container) -> str:
    asked = {"model": MODEL, "prompt": "The capital of France is", "max_tokens": 12}
    answer = box.http_post(8000, "/v1/completions", asked)
    return answer.body


if __name__ == "__main__":
    sys.exit(main())
