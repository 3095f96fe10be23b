# SPDX-License-Identifier: Apache-2.0
"""What is to happen at one start: the machine's memory, how long things take, what goes wrong."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

DIRECTORY: Final = Path("/run/scripted-engine")
STARTS: Final = "scripted-engine-starts.jsonl"

Phase = Literal["import", "load", "compile", "capture"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One entry of the scenario file; every field may be left out."""

    device: Literal["cuda", "cpu"] = "cuda"
    total_gib: float = 23.53
    free_gib: float = 23.2
    """Free when the engine looks, before it has taken anything."""
    weights_gib: float = 5.2
    non_torch_gib: float = 0.25
    activation_gib: float = 0.6
    """Peak of the profile run, at 2048 batched tokens; grows with them."""
    graph_gib: float = 0.6
    """What graphs really take; vLLM's estimate is graph_estimate_gib."""
    graph_estimate_gib: float = 0.6
    sampler_gib_per_seq: float = 0.001
    kv_bytes_per_token: int = 131072
    """With a 16-bit KV cache."""
    kernel: str = ""
    """The kernel line's words after "Using "; made from the quantization when empty."""
    quantization: str = ""
    """What the config line says instead of what was asked."""
    kv_cache_dtype: str = ""
    """The same for the KV cache."""
    prefix_hits: bool = True
    """Whether the prefix cache finds what it should."""
    lines: tuple[str, ...] = ()
    """Printed verbatim before the engine starts."""
    phase_seconds: dict[str, float] = field(default_factory=dict)
    stall_at: str = ""
    """Phase at which progress ends, though nothing dies."""
    fail_at: str = ""
    """Phase at which fail_lines are printed, and the process ends with fail_status."""
    fail_lines: tuple[str, ...] = ()
    fail_status: int = 1
    sigterm_during_start: Literal["obey", "ignore"] = "obey"
    sigterm_while_serving: Literal["obey", "ignore"] = "obey"
    token_seconds: float = 0.002
    death_seconds: float = 1.0
    """From the engine's death to the end of the process (3 to 5 s in vLLM)."""
    task: Literal["generate", "embed"] = "generate"
    """What the model does: the server has the routes of that work only, as since 0.12."""
    cues: tuple[dict[str, Any], ...] = ()
    """Cues that come by themselves, {"after": seconds of serving, "cue": name, ...}."""

    def seconds(self, phase: Phase) -> float:
        """Returns how long a phase takes."""
        return float(self.phase_seconds.get(phase, 0.05))


def load(port: int, argv: list[str]) -> Scenario:
    """Returns the entry for this start, and records the start.

    The n-th start since the file changed takes the n-th entry; the last one repeats.
    """
    file = scenario_file(port)
    text = file.read_text() if file.exists() else "[]"
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    done = record_start(digest, port, argv)
    loaded = json.loads(text)
    entries = loaded if isinstance(loaded, list) else [loaded]
    entry: dict[str, Any] = entries[min(done, len(entries) - 1)] if entries else {}
    known = {known.name for known in fields(Scenario)}
    if unknown := entry.keys() - known:
        sys.exit(f"scripted engine: {file}: no such keys: {sorted(unknown)}")
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()
    }
    return Scenario(**values)


def scenario_file(port: int) -> Path:
    """Returns where the scenario is: one for this port, or for all."""
    if named := os.environ.get("SCRIPTED_ENGINE_SCENARIO"):
        return Path(named)
    own = DIRECTORY / f"{port}.json"
    return own if own.exists() else DIRECTORY / "scenario.json"


def record_start(digest: str, port: int, argv: list[str]) -> int:
    """Adds this start to the list of starts; returns how many went before by this scenario."""
    for variable in ("STATE_DIRECTORY", "CACHE_DIRECTORY", "HOME"):
        directory = Path(os.environ.get(variable, "/nonexistent").split(":")[0])
        with contextlib.suppress(OSError):
            with (directory / STARTS).open("a+") as starts:
                starts.seek(0)
                before = [json.loads(line) for line in starts]
                started = {"scenario": digest, "port": port, "time": time.time(), "argv": argv}
                starts.write(json.dumps(started) + "\n")
            return sum((b["scenario"], b["port"]) == (digest, port) for b in before)
    return 0
