# SPDX-License-Identifier: Apache-2.0
"""The scripted engine does what vLLM was seen to do; other tests stand on that."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests

from agent.core.engine.flags import parse_help
from agent.host.vllm import install as engine_install
from tests.rig import paths

PYTHON = paths.RIG / "scripted_engine/venv/bin/python"
MODULE = "vllm.entrypoints.openai.api_server"
T = TypeVar("T")


class Run:
    """One process of the engine, with its output in a file."""

    def __init__(self, directory: Path, scenario: object, *flags: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        (directory / "scenario.json").write_text(json.dumps(scenario))
        self._output = directory / f"output-{self.port}"
        environment = os.environ | {
            "SCRIPTED_ENGINE_SCENARIO": str(directory / "scenario.json"),
            "STATE_DIRECTORY": str(directory),
        }
        with self._output.open("w") as output:
            self.process = subprocess.Popen(
                [PYTHON, "-m", MODULE, "--model=/m", f"--port={self.port}", *flags],
                stdout=output,
                stderr=output,
                env=environment,
            )

    @property
    def output(self) -> str:
        return self._output.read_bytes().decode()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def health(self) -> int:
        try:
            return requests.get(self.url("/health"), timeout=5).status_code
        except requests.ConnectionError:
            return 0

    def cue(self, name: str, **values: object) -> None:
        requests.post(self.url("/scripted/cue"), json={"cue": name, **values}, timeout=5)

    def complete(self, prompt: object = "hello", timeout: float = 5) -> dict[str, Any]:
        body = {"prompt": prompt, "max_tokens": 2}
        answer = requests.post(self.url("/v1/completions"), json=body, timeout=timeout)
        loaded: dict[str, Any] = answer.json()
        return loaded

    def metric(self, name: str) -> float:
        text = requests.get(self.url("/metrics"), timeout=5).text
        found = re.search(rf"^vllm:{name}{{.*}} (\S+)$", text, re.M)
        assert found is not None, text
        return float(found.group(1))

    def ready(self) -> Run:
        eventually(lambda: self.health() == 200 or self.process.poll() is not None)
        assert self.process.poll() is None, self.output
        return self

    def ended(self) -> int:
        return self.process.wait(20)

    def child(self, title: str) -> int:
        """Returns the PID of the descendant with that title."""
        pids, seen = [self.process.pid], set[int]()
        while pids:
            pid = pids.pop()
            seen.add(pid)
            if Path(f"/proc/{pid}/cmdline").read_bytes() == title.encode() + b"\0":
                return pid
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            pids += map(int, children)
        raise AssertionError(f"no {title} among {seen}")


def eventually(predicate: Callable[[], T], seconds: float = 60) -> T:
    end = time.monotonic() + seconds
    while not (value := predicate()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return value


Engine = Callable[..., Run]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    runs: list[Run] = []

    def start(scenario: object, *flags: str) -> Run:
        runs.append(Run(tmp_path, scenario, *flags))
        return runs[-1]

    yield start
    for run in runs:
        run.process.kill()
        run.process.wait()


def test_it_serves_what_it_was_asked_to_and_says_so(engine: Engine) -> None:
    run = engine(
        {}, "--kv-cache-dtype=fp8", "--max-model-len=4096", "--quantization", "awq"
    ).ready()
    for said in (
        "quantization=auto_awq,",
        "kv_cache_dtype=fp8,",
        "Using MarlinLinearKernel for AutoAWQMarlinLinearMethod",
        "GPU KV cache size: 245,712 tokens, Maximum concurrency for 4,096 tokens",
        "\rLoading safetensors checkpoint shards: 100%",
        "INFO:     Application startup complete.",
    ):
        assert said in run.output
    card = requests.get(run.url("/v1/models"), timeout=5).json()["data"][0]
    assert (card["id"], card["max_model_len"]) == ("/m", 4096)
    assert run.child("VLLM::EngineCore")
    assert run.child("VLLM::Worker")


def test_half_the_bytes_a_token_is_what_an_fp8_cache_shows(engine: Engine) -> None:
    sizes = []
    for dtype in ("auto", "fp8"):
        output = engine({}, f"--kv-cache-dtype={dtype}").ready().output
        available = float(re.findall(r"Available KV cache memory: (\S+) GiB", output)[0])
        tokens = int(re.findall(r"KV cache size: ([\d,]+) tokens", output)[0].replace(",", ""))
        sizes.append(available * 2**30 / tokens)
    assert sizes[0] / sizes[1] == pytest.approx(2, rel=0.01)


def test_the_same_prompt_twice_hits_the_prefix_cache_in_whole_blocks(engine: Engine) -> None:
    run = engine({}).ready()
    prompt = list(range(40))
    assert run.complete(prompt)["usage"]["prompt_tokens"] == 40
    assert run.metric("prefix_cache_hits_total") == 0
    run.complete(prompt)
    assert run.metric("prefix_cache_hits_total") == 32
    assert run.metric("prompt_tokens_total") == 80


MEMORY_FAILURES = [
    pytest.param(
        {"free_gib": 15.0},
        "--gpu-memory-utilization=0.9",
        r"Free memory on device cuda:0 \(15.0/23.53 GiB\) on startup is less than desired GPU "
        r"memory utilization \(0.9, 21.18 GiB\)",
        "--gpu-memory-utilization=0.6",
        id="free memory",
    ),
    pytest.param(
        {"device": "cpu", "free_gib": 15.0, "weights_gib": 0.1},
        "--gpu-memory-utilization=0.9",
        r"Available memory on node 0 \(15.0/23.53 GiB\) on startup is less than desired CPU "
        r"memory utilization \(0.9, 21.18 GiB\)",
        "--gpu-memory-utilization=0.6",
        id="free memory of a CPU build",
    ),
    pytest.param(
        {"weights_gib": 16.0},
        "--gpu-memory-utilization=0.7",
        r"Available KV cache memory: -0.98 GiB(?s:.)*No available memory for the cache blocks",
        "--gpu-memory-utilization=0.8",
        id="nothing left for the KV cache",
    ),
    pytest.param(
        {"weights_gib": 19.0},
        "--max-model-len=32768",
        r"max seq len \(32768\), \(4.0 GiB KV cache is needed, which is larger than the available "
        r"KV cache memory \(1.2 GiB\)\. .* the estimated maximum model length is 9808\.",
        "--max-model-len=9808",
        id="KV cache too small",
    ),
    pytest.param(
        {"sampler_gib_per_seq": 0.01},
        "--max-num-seqs=512",
        r"CUDA out of memory occurred when warming up sampler with 512 dummy requests",
        "--max-num-seqs=64",
        id="sampler",
    ),
    pytest.param(
        {"graph_gib": 2.8},
        "--gpu-memory-utilization=0.97",
        r"Capturing CUDA graphs(?s:.)*torch.OutOfMemoryError: CUDA out of memory. Tried",
        "--gpu-memory-utilization=0.88",
        id="graphs",
    ),
    pytest.param(
        {"activation_gib": 5, "weights_gib": 15.0},
        "--max-num-batched-tokens=8192",
        r"Loading weights took(?s:.)*torch.OutOfMemoryError: CUDA out of memory",
        "--max-num-batched-tokens=1024",
        id="profile",
    ),
]


@pytest.mark.parametrize(("scenario", "asked", "message", "remedy"), MEMORY_FAILURES)
def test_memory_fails_by_arithmetic_and_serves_once_the_settings_fit(
    engine: Engine, scenario: dict[str, object], asked: str, message: str, remedy: str
) -> None:
    failed = engine(scenario, asked)
    assert failed.ended() == 1
    assert re.search(message, failed.output), failed.output
    assert "Engine core initialization failed. See root cause above." in failed.output
    engine(scenario, remedy).ready()


def test_weights_that_do_not_fit_fail_while_they_load(engine: Engine) -> None:
    run = engine({"weights_gib": 30})
    assert run.ended() == 1
    assert "Starting to load model /m..." in run.output
    assert "CUDA out of memory. Tried to allocate" in run.output
    assert "Loading weights took" not in run.output


def test_a_dead_engine_ends_in_exit_status_0(engine: Engine) -> None:
    run = engine({"death_seconds": 0.5}).ready()
    os.kill(run.child("VLLM::EngineCore"), signal.SIGKILL)
    eventually(lambda: run.health() == 503)
    assert run.ended() == 0
    assert "EngineDeadError: EngineCore encountered an issue." in run.output


def test_a_killed_worker_takes_the_engine_along(engine: Engine) -> None:
    run = engine({"death_seconds": 0}).ready()
    run.cue("worker-dead")
    assert run.ended() == 0
    assert "Worker proc VllmWorker-0 died unexpectedly" in run.output


def test_a_hung_engine_is_healthy_and_its_counters_stand_still(engine: Engine) -> None:
    run = engine({}).ready()
    run.cue("hang")
    before = run.metric("generation_tokens_total")
    with pytest.raises(requests.Timeout):
        run.complete(timeout=0.5)
    assert run.health() == 200
    assert run.metric("num_requests_running") == 1
    assert run.metric("generation_tokens_total") == before


def test_a_stopped_engine_core_hangs_as_the_real_one(engine: Engine) -> None:
    run = engine({}).ready()
    os.kill(run.child("VLLM::EngineCore"), signal.SIGSTOP)
    with pytest.raises(requests.Timeout):
        run.complete(timeout=0.5)
    assert run.health() == 200


def test_a_busy_engine_is_slow_but_its_counters_move(engine: Engine) -> None:
    run = engine({}).ready()
    run.cue("busy", running=8, waiting=300, seconds=60, tokens_per_second=50)
    with pytest.raises(requests.Timeout):
        run.complete(timeout=0.3)
    before = run.metric("generation_tokens_total")
    eventually(lambda: run.metric("generation_tokens_total") > before)
    assert run.metric("num_requests_waiting") == 300


def test_the_nth_start_takes_the_nth_entry_and_the_last_repeats(engine: Engine) -> None:
    scenario = [{"fail_at": "load", "fail_lines": ["no"], "fail_status": 7}, {}]
    run = engine(scenario)
    assert run.ended() == 7
    assert "\nno\n" in run.output
    # All starts below one scenario file and one port are counted together.
    for _ in range(2):
        again = subprocess.Popen(
            run.process.args, env=os.environ | _environment(run), stdout=subprocess.DEVNULL
        )
        eventually(lambda: run.health() == 200)
        again.terminate()
        assert again.wait(20) == 0


def _environment(run: Run) -> dict[str, str]:
    directory = run._output.parent
    scenario = str(directory / "scenario.json")
    return {"SCRIPTED_ENGINE_SCENARIO": scenario, "STATE_DIRECTORY": str(directory)}


def test_a_stalled_start_makes_no_progress_and_swallows_sigterm(engine: Engine) -> None:
    run = engine({"stall_at": "load", "sigterm_during_start": "ignore"})
    eventually(lambda: "Starting to load model" in run.output)
    core = run.child("VLLM::EngineCore")
    os.kill(core, signal.SIGTERM)
    run.process.terminate()
    with pytest.raises(subprocess.TimeoutExpired):
        run.process.wait(0.5)
    assert run.health() == 0


def test_requests_in_flight_are_drained_within_the_shutdown_timeout(engine: Engine) -> None:
    run = engine({"token_seconds": 0.4}, "--shutdown-timeout=10").ready()
    client = subprocess.Popen(
        ["curl", "-s", "-d", '{"prompt": "x", "max_tokens": 2}', run.url("/v1/completions")],
        stdout=subprocess.PIPE,
    )
    eventually(lambda: run.metric("num_requests_running") == 1)
    run.process.terminate()
    assert run.ended() == 0
    assert b'"completion_tokens": 2' in client.communicate()[0]


def test_an_unknown_flag_ends_in_status_2(engine: Engine) -> None:
    run = engine({}, "--swap-space=4")
    assert run.ended() == 2
    assert "api_server.py: error: unrecognized arguments: --swap-space=4" in run.output


def test_cues_flood_print_and_exit(engine: Engine) -> None:
    run = engine({"cues": [{"after": 0.2, "cue": "lines", "lines": ["by itself"]}]}).ready()
    run.cue("flood", lines=5000)
    eventually(lambda: run.output.count("flood line") == 5000)
    eventually(lambda: "by itself" in run.output)
    run.cue("exit", status=3)
    assert run.ended() == 3


def test_the_agent_takes_it_for_vllm() -> None:
    found = engine_install.inspect(str(PYTHON))
    assert (found.version, found.has_vllm_metadata) == ("0.32.0", True)
    text = subprocess.run(
        [PYTHON, "-m", MODULE, "--help=all"], check=True, capture_output=True, text=True
    ).stdout
    assert len(parse_help(text)) > 300
    code = "import importlib.metadata as m; print(m.version('vllm'))"
    asked = subprocess.run([PYTHON, "-c", code], check=True, capture_output=True, text=True)
    assert asked.stdout == "0.32.0\n"
