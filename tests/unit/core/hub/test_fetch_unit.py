# SPDX-License-Identifier: Apache-2.0
"""The unit that fetches a model, and the unit that then serves it with the hub away."""

from __future__ import annotations

import pytest

from agent.core.engine.install import Engine
from agent.core.hub.cache import hub_cache, may_go_offline
from agent.core.hub.unit import render_fetch_unit
from agent.core.settings.service import Sandbox, Settings
from agent.core.unit.text import UnitInputs, render_unit
from tests.given.unit_reader import argv

HUB = Settings("vllm", "org/m", hf_token_file="/etc/llmagent/hf", revision="v2")
ENGINE = Engine("0.32.0", has_vllm_metadata=True, flags=None)
CODE = "/usr/lib/llmagent"


def fetch_unit(settings: Settings = HUB, *, repair: bool = False) -> str:
    return render_fetch_unit(settings, ENGINE, CODE, (), repair=repair)


def serving_unit(settings: Settings = HUB, *, needs_no_hub: bool = True) -> str:
    return render_unit(settings, ENGINE, UnitInputs(needs_no_hub=needs_no_hub))


def lines_of(text: str, *keys: str) -> set[str]:
    return {line for line in text.splitlines() if line.startswith(keys)}


def test_the_fetch_runs_as_the_service_does_with_its_python_cache_and_token() -> None:
    shared = ("User=", "StateDirectory=", "CacheDirectory=", "LoadCredential=", "UMask=")
    assert lines_of(fetch_unit(), *shared) == lines_of(serving_unit(), *shared)
    assert "LoadCredential=hf_token:/etc/llmagent/hf" in fetch_unit()
    for setting in ('"HF_HOME=', "HF_HOME="):
        wanted = lines_of(serving_unit(), f"Environment={setting}")
        assert wanted <= lines_of(fetch_unit(), "Environment=")
    command = argv(fetch_unit())
    assert command[:3] == ["/opt/vllm/bin/python", "-m", "agent.fetch"]
    assert {"--model=org/m", "--revision=v2"} <= set(command)


def test_the_fetch_is_confined_as_the_service_is_and_may_reach_the_hub() -> None:
    confined = ("Protect", "Private", "Restrict", "NoNew", "Capability", "SystemCall")
    assert lines_of(fetch_unit(), *confined) == lines_of(serving_unit(), *confined)
    assert "IPAddressDeny" not in fetch_unit()
    off = Settings("vllm", "org/m", sandbox=Sandbox.OFF)
    assert not lines_of(fetch_unit(off), *confined)


@pytest.mark.parametrize("sandbox", Sandbox)
def test_a_hub_whose_answer_has_no_end_takes_no_more_than_half_of_the_memory(
    sandbox: Sandbox,
) -> None:
    bounds = lines_of(fetch_unit(Settings("vllm", "org/m", sandbox=sandbox)), "MemoryMax=", "Tasks")
    assert bounds == {"MemoryMax=50%", "TasksMax=1024"}


def test_the_fetch_never_starts_by_itself_and_never_again_by_itself() -> None:
    assert "[Install]" not in fetch_unit()
    assert "Restart=" not in fetch_unit()


def test_a_repair_is_asked_for_on_the_command_line() -> None:
    assert "--repair" not in argv(fetch_unit())
    assert "--repair" in argv(fetch_unit(repair=True))


def test_a_tokenizer_of_its_own_is_fetched_too() -> None:
    other = Settings("vllm", "org/m", tokenizer="org/t")
    assert "--tokenizer=org/t" in argv(fetch_unit(other))
    local = Settings("vllm", "org/m", tokenizer="/srv/t")
    assert not [w for w in argv(fetch_unit(local)) if w.startswith("--tokenizer")]


def test_a_complete_model_is_served_without_the_hub_unless_the_operator_says_otherwise() -> None:
    assert "Environment=HF_HUB_OFFLINE=1" in serving_unit()
    assert "HF_HUB_OFFLINE" not in serving_unit(needs_no_hub=False)
    mine = Settings("vllm", "org/m", environment={"HF_HUB_OFFLINE": "0"})
    assert "Environment=HF_HUB_OFFLINE=0" in serving_unit(mine)
    assert "HF_HUB_OFFLINE=1" not in serving_unit(mine)


def test_what_may_need_another_repository_stays_online() -> None:
    assert may_go_offline(HUB)
    for words in (
        ('--speculative-config={"model": "org/d"}',),
        ("-sc.model", "org/d"),
        ("--spec-mod=org/d",),
        ("--lora_modules", "a=org/b"),
        ("--config", "/etc/vllm.yaml"),
    ):
        assert not may_go_offline(Settings("vllm", "org/m", extra_args=words))
    assert may_go_offline(Settings("vllm", "org/m", extra_args=("--seed", "1")))
    assert not may_go_offline(Settings("vllm", "/srv/m"))


def test_the_cache_is_where_the_environment_says() -> None:
    assert hub_cache(HUB) == "/var/lib/vllm/huggingface/hub"
    home = Settings("vllm", "org/m", environment={"HF_HOME": "/data/hf"})
    assert hub_cache(home) == "/data/hf/hub"
    direct = Settings("vllm", "org/m", environment={"HF_HUB_CACHE": "/data/hub"})
    assert hub_cache(direct) == "/data/hub"
