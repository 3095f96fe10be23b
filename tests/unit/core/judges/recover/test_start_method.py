# SPDX-License-Identifier: Apache-2.0
"""Processes that are forked: asked for, refused where vLLM spawns, and given up where CUDA does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.config.agent_toml import load
from agent.core.diagnosis.facts import Facts
from agent.core.diagnosis.reader import LogReader
from agent.core.engine.answers import ApiFacts
from agent.core.engine.install import Engine
from agent.core.failures.classes import FailureClass
from agent.core.settings.service import Expectations, ServicePolicy, Settings
from agent.core.unit.text import UnitInputs, render_unit
from agent.core.verify.check import Verdict
from agent.core.verify.items import verify
from agent.errors import AgentError
from agent.host.data.signatures import load_signatures
from tests.given.simulated_host import SimulatedHost
from tests.given.unit_reader import environment

F = FailureClass
VARIABLE = "VLLM_WORKER_MULTIPROC_METHOD"
TOLD = "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must"
DEATH = f"""\
(APIServer pid=7) INFO 11-21 03:00:08 [utils.py:233] non-default args: {{'model': 'm'}}
(EngineCore pid=9) INFO 11-21 03:00:17 [core.py:77] Initializing a V1 LLM engine (v0.32.0) with
(EngineCore pid=9) ERROR 11-21 03:00:20 [core.py:1446] EngineCore failed to start.
(EngineCore pid=9) ERROR 11-21 03:00:20 [core.py:1446] Traceback (most recent call last):
(EngineCore pid=9) ERROR 11-21 03:00:20 [core.py:1446]   File "/opt/vllm/lib/python3.12/\
site-packages/vllm/v1/engine/core.py", line 1437, in run_engine_core
(EngineCore pid=9) ERROR 11-21 03:00:20 [core.py:1446]     engine_core = EngineCoreProc(*args)
(EngineCore pid=9) ERROR 11-21 03:00:20 [core.py:1446]   File "/opt/vllm/lib/python3.12/\
site-packages/torch/cuda/__init__.py", line 398, in _lazy_init
(EngineCore pid=9) ERROR 11-21 03:00:20 [core.py:1446]     raise RuntimeError(
(EngineCore pid=9) ERROR 11-21 03:00:20 [core.py:1446] RuntimeError: {TOLD} use
(APIServer pid=7) RuntimeError: Engine core initialization failed. See root cause above.
"""


def host_of(**asked: Any) -> SimulatedHost:
    host = SimulatedHost({"vllm": ServicePolicy(Settings("vllm", "/srv/m", **asked))})
    host.agent_starts()
    host.carry_out()
    return host


def method_of(settings: Settings) -> str | None:
    unit = render_unit(settings, Engine("0.32.0", True, None), UnitInputs())
    return environment(unit).get(VARIABLE)


def test_the_unit_asks_for_it_and_for_nothing_where_vllm_decides() -> None:
    assert method_of(Settings("vllm", "/srv/m", start_method="fork")) == "fork"
    assert method_of(Settings("vllm", "/srv/m")) is None


def test_a_process_that_cannot_use_cuda_after_a_fork_has_its_class() -> None:
    reader = LogReader(load_signatures())
    for line in DEATH.splitlines():
        reader.feed(line)
    assert reader.diagnosis().failure is F.CUDA_REINIT_IN_FORK


@pytest.mark.parametrize("failure", [F.CUDA_REINIT_IN_FORK, F.CUDA_UNKNOWN])
def test_it_is_spawned_from_then_on_for_this_version(failure: FailureClass) -> None:
    host = host_of(start_method="fork")
    host.pass_time(5)
    host.dies(failure, status=1)
    host.carry_out()
    assert host.serving_within(300)
    assert method_of(host.starts[-1][2]) == "spawn"
    assert len(host.starts) == 2
    assert f"{VARIABLE}=spawn" in host.service().learned.overrides
    host.pass_time(700)
    host.dies(F.ENGINE_DEAD)
    host.carry_out()
    assert host.serving_within(300)
    assert method_of(host.starts[-1][2]) == "spawn"


def test_what_the_operator_set_in_the_environment_is_theirs_to_take_back() -> None:
    host = host_of(environment={VARIABLE: "fork"})
    host.pass_time(5)
    host.dies(F.CUDA_REINIT_IN_FORK, status=1)
    host.carry_out()
    s = host.service()
    assert s.held is not None
    assert VARIABLE in s.what_to_do


def test_an_unknown_error_of_cuda_without_a_fork_is_held_as_ever() -> None:
    host = host_of()
    host.pass_time(5)
    host.dies(F.CUDA_UNKNOWN, status=1)
    host.carry_out()
    assert host.service().held is not None


OVERRIDDEN = (
    "We must use the `spawn` multiprocessing start method. Overriding VLLM_WORKER_MULTIPROC_METHOD "
    "to 'spawn'. See https://docs.vllm.ai for more information. Reasons: CUDA is initialized"
)


@pytest.mark.parametrize(
    ("line", "expected"),
    [(OVERRIDDEN, Verdict.CONTRADICTED), ("Using max model len 1024", Verdict.UNKNOWN)],
)
def test_an_engine_that_spawned_all_the_same_is_told(line: str, expected: Verdict) -> None:
    reader = LogReader(load_signatures())
    reader.feed(f"(APIServer pid=7) WARNING 11-21 03:00:08 [system_utils.py:153] {line}")
    settings = Settings("vllm", "/srv/m", start_method="fork")
    checks = verify(settings, Expectations(), reader.facts, ApiFacts())
    (found,) = [check for check in checks if check.item == "start_method"]
    assert found.verdict is expected
    plain = verify(replace(settings, start_method=None), Expectations(), Facts(), ApiFacts())
    assert "start_method" not in [check.item for check in plain]


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.4, Verdict.PROVEN), (3.0, Verdict.UNKNOWN), (9.0, Verdict.UNKNOWN)]
)
def test_an_engine_that_is_there_at_once_was_forked(seconds: float, expected: Verdict) -> None:
    reader = LogReader(load_signatures())
    reader.began(100.0)
    server, engine = "(APIServer pid=7) INFO 11-21 03:00:08", "(EngineCore pid=9) INFO 11-21"
    reader.feed(f"{server} [utils.py:233] non-default args: {{'model': 'm'}}", 107.0)
    reader.feed(f"{server} [model.py:1510] Using max model len 8192", 107.2)
    line = "Initializing a V1 LLM engine (v0.32.0) with config: model='m'"
    reader.feed(f"{engine} 03:00:09 [core.py:77] {line}", 107.2 + seconds)
    settings = Settings("vllm", "/srv/m", start_method="fork")
    checks = verify(settings, Expectations(), reader.facts, ApiFacts())
    (found,) = [check for check in checks if check.item == "start_method"]
    assert found.verdict is expected


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ('extra_args = ["--numa-bind"]', "--numa-bind needs spawn"),
        ('extra_args = ["--mm-tensor-ipc", "torch_shm"]', "torch_shm fails without spawn"),
        ('extra_args = ["--data-parallel-backend=ray"]', "what runs in Ray is spawned"),
        (f'environment = {{ {VARIABLE} = "spawn" }}', "give one of the two"),
        ('python = "CPU"', "vLLM's CPU build always spawns"),
    ],
)
def test_fork_is_refused_where_vllm_spawns(tmp_path: Path, more: str, why: str) -> None:
    python = tmp_path / "venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    named = tmp_path / "venv/lib/python3.11/site-packages/vllm-0.32.0+cpu.dist-info"
    named.mkdir(parents=True)
    (named / "METADATA").write_text("Name: vllm\nVersion: 0.32.0+cpu\n")
    file = tmp_path / "agent.toml"
    text = f'[service.vllm]\nmodel = "/srv/m"\nstart_method = "fork"\n{more}\n'
    file.write_text(text.replace("CPU", str(python)))
    with pytest.raises(AgentError, match=why):
        load(file)
    file.write_text(text.replace("CPU", str(python)).replace('"fork"', '"spawn"', 1))
    if VARIABLE not in more:
        load(file)
