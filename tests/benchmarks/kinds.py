# SPDX-License-Identifier: Apache-2.0
"""Each kind of model on real vLLM under the installed agent: does it prove itself by its own task?

Usage: python -m tests.benchmarks.kinds [KIND...], of those in tests/rig/kinds/make.py; all by
default.

A kind is started three times: as it is; again, where the model must answer as before; and with
other weights at the same place, as after a download that was written over, where the agent must
tell `answer-changed` with both answers. What verification proves is printed, and what was told.
Nothing is downloaded: the models are tiny and random. Exit status 1 where a kind is not as it
should be.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.rig import binds
from tests.rig.container import Container
from tests.rig.installed import Agent

LIVE = "/srv/live"
MEMORY = 8 * 2**30
START_SECONDS = 400
CHANGE_SECONDS = 200
"""A changed answer is told when it came twice, a minute apart."""

TOML = """\
[service.vllm]
model = "{model}"
python = "/opt/vllm/bin/python"
max_num_seqs = 4
kv_cache_memory_bytes = 268435456
enforce_eager = true
extra_args = [{extra}]
environment = {{ VLLM_USE_AOT_COMPILE = "0", PYTHONPATH = "/srv/kinds/audio" }}
[service.vllm.recovery]
poll_seconds = 1
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """What must be proven of a kind, and what is asked besides its model.

    `answer` is the item that tells whether it answers as before.
    """

    items: tuple[str, ...]
    extra: tuple[str, ...] = ()
    model: str = ""
    answer: str = "answer"


KINDS = {
    "causal": Kind(("completion", "chat", "prefix_cache_hits")),
    "embedder": Kind(("embedding",)),
    "cross-encoder": Kind(("score", "rerank")),
    "classifier": Kind(("classification",)),
    "reward": Kind(("pooling",)),
    "whisper": Kind(("transcription",)),
    "idefics": Kind(("completion", "chat", "image")),
    "lora": Kind(
        ("completion", "chat", "lora_modules"),
        ("--enable-lora", "--max-lora-rank=8", "--lora-modules", f"mine={LIVE}/lora"),
        model="/srv/models/tiny-llama",
        answer="lora_answers",
    ),
}


@dataclass(frozen=True, slots=True)
class Start:
    """One start that came to serve: seconds to it, and the verification by item."""

    seconds: float
    checks: dict[str, dict[str, Any]]

    def verdict(self, item: str) -> str:
        return str(self.checks.get(item, {}).get("verdict", "not there"))


class Bench:
    """One machine with the agent; kinds are served one after the other."""

    def __init__(self, box: Container) -> None:
        self.agent = Agent(box)
        self.box = box
        self.agent.install()

    def lay(self, kind: str, which: str) -> None:
        """Puts the kind's files of one seed where the service looks for them."""
        place = f"{LIVE}/{kind}"
        self.box.run(
            ["bash", "-c", f"mkdir -p {place}; cp -r /srv/kinds/{which}/{kind}/. {place}/"]
        )

    def configure(self, kind: str) -> Start:
        """Has the kind served, whatever was served before."""
        one = KINDS[kind]
        extra = ", ".join(f'"{word}"' for word in one.extra)
        model = one.model or f"{LIVE}/{kind}"
        return self.after(lambda: self.agent.configure(TOML.format(model=model, extra=extra)))

    def again(self) -> Start:
        """Starts the service anew."""
        argv = ["llmagent", "restart", "vllm"]
        return self.after(lambda: self.box.run(argv, check=False, timeout=120))

    def after(self, do: Callable[[], object]) -> Start:
        """Does something that ends in a new start, and waits until that serves."""
        before = self.agent.status().get("invocation_id", "")
        began = time.monotonic()
        do()

        def serves() -> dict[str, Any] | None:
            seen = self.agent.status()
            fresh = seen.get("invocation_id") not in ("", before)
            return seen if fresh and seen.get("phase") == "serving" else None

        status = self.box.wait_for(serves, START_SECONDS, "the model to serve")
        assert status is not None
        seconds = time.monotonic() - began
        return Start(seconds, {check["item"]: check for check in status["verification"]})

    def changed(self) -> str:
        """Waits until a changed answer is told; returns the sentence, "" where none came."""
        known = len(self.agent.events("answer-changed"))
        end = time.monotonic() + CHANGE_SECONDS
        while time.monotonic() < end:
            if len(events := self.agent.events("answer-changed")) > known:
                return str(events[-1]["message"])
            time.sleep(3)
        return ""


def one_kind(bench: Bench, kind: str) -> bool:
    """Prints what came of a kind; returns whether all is as it should be."""
    wanted = KINDS[kind]
    bench.lay(kind, "one")
    first = bench.configure(kind)
    proven = [item for item in wanted.items if first.verdict(item) == "proven"]
    print(f"\n{kind}: serves after {first.seconds:.0f} s; proven: {', '.join(proven) or 'nothing'}")
    for item in (*wanted.items, wanted.answer):
        print(f"  {item}: {first.verdict(item)}: {first.checks.get(item, {}).get('got', '')}")
    fine = len(proven) == len(wanted.items)
    second = bench.again()
    answer = second.checks.get(wanted.answer, {})
    print(f"  started again ({second.seconds:.0f} s): {wanted.answer} {answer}")
    bench.lay(kind, "two")
    third = bench.again()
    told = bench.changed()
    print(f"  other weights ({third.seconds:.0f} s): told: {told or 'NOTHING'}")
    return fine and answer.get("got") == "the same" and bool(told)


def main(kinds: list[str]) -> int:
    shown = [binds.vllm(), binds.models(), binds.kinds()]
    with Container("bookworm", binds=shown, memory_limit=MEMORY) as box:
        bench = Bench(box)
        failed = [kind for kind in kinds or KINDS if not one_kind(bench, kind)]
    print(f"\nnot as it should be: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
