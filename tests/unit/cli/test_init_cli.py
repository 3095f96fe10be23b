# SPDX-License-Identifier: Apache-2.0
"""`llmagent init`: what is chosen unasked, what is asked for, and what stops it."""

import io
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.cli.beginning.choices import Choice, choose_engine, choose_model
from agent.cli.beginning.seen import seen_lines
from agent.core.beginning.proposal import Proposal, Unfit
from agent.core.doctor.host import EngineProcess
from agent.core.engine.install import EngineInstall
from agent.core.gpu.reading import Driver, GpuMemory, Gpus
from agent.core.settings.engine import Runtime
from agent.errors import HostLacksError, UsageError
from agent.host.models.here import ModelHere
from agent.host.models.known import known_config
from agent.tasks.beginning.look import HostLook, ImageHere
from tests.given.some_gpus import GIB, H200

CARD = replace(H200, memory=GpuMemory(140 * GIB, 0, 140 * GIB))
DRIVER = Driver(module_version="580.82.07", library_version="580.82.07")


def here(name: str, gib: float, called: str = "") -> ModelHere:
    return ModelHere(called or name, known_config(name) or {}, gib, f"/hub/{name}")


SMALL = here("meta-llama/Llama-3.1-8B-Instruct", 15.0)
LARGE = here("meta-llama/Llama-3.3-70B-Instruct", 131.4)


def look(**changes: Any) -> HostLook:
    whole = HostLook(
        gpus=Gpus(1.0, (CARD, replace(CARD, index=1, uuid="GPU-b")), DRIVER),
        installs=(EngineInstall("/opt/new/bin/python", "0.32.0", "vllm"),),
        images=(ImageHere(Runtime.DOCKER, "vllm/vllm-openai:v0.10.2", "0.10.2"),),
        models=(LARGE, SMALL),
        running=(),
        free_gib=800.0,
    )
    return replace(whole, **changes)


def args(**given: Any) -> Namespace:
    unset = {"python": None, "image": None, "make_venv": None, "model": None}
    return Namespace(**{**unset, "yes": True, "dry_run": False, **given})


def test_the_newest_engine_and_the_largest_model_that_fits_are_taken() -> None:
    engine = choose_engine(args(), look())
    assert engine == Choice({"python": "/opt/new/bin/python"}, "0.32.0")
    found = choose_model(args(), look(), engine)
    assert isinstance(found, Proposal)
    assert found.model.name == "meta-llama/Llama-3.3-70B-Instruct"
    assert found.tensor_parallel_size == 2


def test_an_image_is_taken_where_there_is_no_environment() -> None:
    engine = choose_engine(args(), look(installs=()))
    assert engine.keys == {"engine": {"runtime": "docker", "image": "vllm/vllm-openai:v0.10.2"}}


def test_a_model_that_nobody_has_fetched_is_planned_by_its_name() -> None:
    found = choose_model(args(model="Qwen/Qwen3-8B"), look(models=()), Choice())
    assert isinstance(found, Proposal)
    unheard_of = choose_model(args(model="nobody/nothing"), look(models=()), Choice())
    assert isinstance(unheard_of, Unfit)
    assert not unheard_of.is_known


def test_without_a_model_the_option_is_named() -> None:
    with pytest.raises(UsageError, match="--model ORG/NAME"):
        choose_model(args(), look(models=()), Choice())


def test_without_a_terminal_no_environment_is_made_unasked() -> None:
    nothing = look(installs=(), images=())
    with pytest.raises(HostLacksError, match="--make-venv makes it"):
        choose_engine(args(), nothing)
    with pytest.raises(UsageError, match="--make-venv agrees beforehand"):
        choose_engine(args(yes=False), nothing)


def test_a_dry_run_says_what_it_would_make(capsys: pytest.CaptureFixture[str]) -> None:
    dry = args(dry_run=True, make_venv=Path("/opt/x"))
    engine = choose_engine(dry, look(installs=(), images=()))
    assert engine.keys == {"python": "/opt/x/bin/python"}
    assert "/opt/x/bin/python -m pip install vllm==0.33.*" in capsys.readouterr().err


def test_a_driver_that_is_too_old_for_every_release_is_named() -> None:
    old = Gpus(1.0, (CARD,), replace(DRIVER, module_version="535.183.01"))
    with pytest.raises(HostLacksError, match=r"driver 535\.183\.01 is too old"):
        choose_engine(args(make_venv=Path("/opt/x")), look(gpus=old, installs=(), images=()))


def test_a_host_without_a_gpu_is_told_so_plainly() -> None:
    none = Gpus(0.0, (), Driver(problem="there is no NVIDIA driver on this host"))
    with pytest.raises(HostLacksError, match="there is no GPU to serve on: there is no NVIDIA"):
        choose_engine(args(), look(gpus=none))


def test_cards_of_one_kind_are_taken_together() -> None:
    small = replace(CARD, index=2, uuid="GPU-c", name="NVIDIA T4", memory=GpuMemory(15 * GIB, 0, 0))
    mixed = look(gpus=Gpus(1.0, (*look().gpus.gpus, small), DRIVER))
    assert [card.index for card in mixed.cards] == [0, 1]
    assert any("2 x NVIDIA H200" in line and "1 x NVIDIA T4" in line for line in seen_lines(mixed))


def test_an_engine_that_runs_comes_with_the_line_that_takes_it_in() -> None:
    assert any("not looked at: models" in line for line in seen_lines(look(late=("models",))))
    lines = seen_lines(look(running=(EngineProcess(7, "python3", "old.service"),)))
    assert any("`llmagent import old.service`" in line for line in lines)


def test_a_person_on_a_host_without_a_model_is_asked_for_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal("Qwen/Qwen3-8B\n"))
    asked = args(yes=False)
    found = choose_model(asked, look(models=()), Choice())
    assert isinstance(found, Proposal)
    assert asked.model == found.model.name == "Qwen/Qwen3-8B"
    assert "no model lies here" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", Terminal("\n"))
    with pytest.raises(UsageError, match="no model was named; --model NAME"):
        choose_model(args(yes=False), look(models=()), Choice())
