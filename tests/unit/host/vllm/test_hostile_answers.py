# SPDX-License-Identifier: Apache-2.0
"""Whoever sits on the engine's port costs the agent neither memory nor time without a bound."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from agent.core.engine.answers import NoAnswer
from agent.core.settings.service import Settings
from agent.host.vllm.api import HealthStatus, VllmApi
from agent.host.vllm.failure import ApiFailure, FailureKind
from agent.tasks.ask_vllm import collect
from tests.fuzz.hostile_http import answering, corpus

MIB = 1024
"""In the unit of /proc: KiB."""

ASK_ALL = """
import json, sys, time
from agent.core.settings.service import Settings
from agent.host.vllm.api import VllmApi
from agent.tasks.ask_vllm import collect

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

base, names = sys.argv[1], json.loads(sys.argv[2])
said = {}
settings = Settings(name="vllm", model="m")
for number, name in enumerate(names):
    before = time.thread_time()
    for path in (2 * number, 2 * number + 1):
        api = VllmApi(f"{base}/{path}", connect_seconds=0.5, read_seconds=0.5)
        api.health(), api.counters(), api.models(), api.version()
        collect(api, settings, seconds=1.0)
    said[name] = [peak(), time.thread_time() - before]
print(json.dumps(said))
"""


def test_no_answer_of_the_corpus_takes_the_agent_beyond_150_mib() -> None:
    answers = corpus()
    with answering(answers) as base:
        done = subprocess.run(
            [sys.executable, "-c", ASK_ALL, base, json.dumps(list(answers))],
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stderr
    said: dict[str, list[float]] = json.loads(done.stdout)
    print({name: f"{peak / MIB:.0f} MiB {seconds:.2f} s" for name, (peak, seconds) in said.items()})
    assert max(peak for peak, _ in said.values()) < 150 * MIB, said
    # Each call ends with its deadline, and its processor time with it; they are ten and more.
    assert max(seconds for _, seconds in said.values()) < 30, said


@pytest.mark.parametrize("name", ["packed twice", "packed once", "deflated", "packed by many"])
def test_a_packed_answer_is_refused_by_name(name: str) -> None:
    answers = corpus()
    with answering(answers) as base:
        api = VllmApi(f"{base}/{2 * list(answers).index(name)}", read_seconds=5.0)
        answer = api.counters()
        assert isinstance(answer, ApiFailure)
        assert answer.kind is FailureKind.GARBAGE
        assert "packed" in answer.detail
        assert api.health() is HealthStatus.STRANGE


@pytest.mark.parametrize("name", ["a block of 10^9", "a block of 10^400", "a length of 10^18"])
def test_a_forged_size_gives_no_prompt_beyond_4096_tokens(name: str) -> None:
    answers = corpus()
    with answering(answers) as base:
        api = VllmApi(f"{base}/{2 * list(answers).index(name) + 1}", read_seconds=5.0)
        facts = collect(api, Settings(name="vllm", model="m", max_model_len=10**15), seconds=5)
    prefix = facts.prefix
    assert isinstance(prefix, NoAnswer) or prefix.prompt_tokens <= 4096
