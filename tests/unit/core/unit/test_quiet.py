# SPDX-License-Identifier: Apache-2.0
"""What a start tells strangers, or asks them, is off and said; what was asked for stays on."""

from dataclasses import replace

import pytest

from agent.core.engine.install import Engine
from agent.core.settings.engine import EngineSettings, Runtime
from agent.core.settings.service import Settings
from agent.core.unit.quiet import QUIET
from agent.core.unit.text import UnitInputs, render_unit
from tests.given.unit_reader import argv, environment

ENGINE = Engine("0.32.0", has_vllm_metadata=True, flags=None)
HUB = Settings(name="vllm", model="org/name")
PODMAN = EngineSettings(runtime=Runtime.PODMAN, image="docker.io/vllm/vllm-openai:v0.32.0")
VLLM_DECIDES = ("VLLM_NO_USAGE_STATS", "VLLM_DO_NOT_TRACK", "DO_NOT_TRACK")
"""Those that vllm/usage/usage_lib.py of 0.32.0 asks."""


def unit(settings: Settings, *, needs_no_hub: bool = False) -> str:
    return render_unit(settings, ENGINE, UnitInputs(needs_no_hub=needs_no_hub))


def comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.startswith("# "))


def test_reports_to_strangers_are_off_and_the_unit_says_each() -> None:
    text = unit(HUB)
    chosen = environment(text)
    assert chosen["VLLM_NO_USAGE_STATS"] == "1"
    assert chosen["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert chosen["RAY_USAGE_STATS_ENABLED"] == "0"
    for one in QUIET:
        assert one.what in comments(text)
        assert all(name in comments(text) for name in one.variables)


@pytest.mark.parametrize("name", VLLM_DECIDES)
@pytest.mark.parametrize("value", ["0", "1"])
def test_who_decides_about_reports_has_the_last_word(name: str, value: str) -> None:
    text = unit(replace(HUB, environment={name: value}))
    chosen = environment(text)
    assert {k: v for k, v in chosen.items() if k in VLLM_DECIDES} == {name: value}
    assert "vLLM's usage reports" not in comments(text)


def test_one_report_that_is_asked_for_leaves_the_others_off() -> None:
    chosen = environment(unit(replace(HUB, environment={"HF_HUB_DISABLE_TELEMETRY": "0"})))
    assert chosen["HF_HUB_DISABLE_TELEMETRY"] == "0"
    assert chosen["VLLM_NO_USAGE_STATS"] == "1"


def test_a_complete_cache_is_said_to_need_no_hub() -> None:
    assert "The hub is not asked" in comments(unit(HUB, needs_no_hub=True))
    assert "The hub is not asked" not in comments(unit(HUB))
    online = replace(HUB, environment={"HF_HUB_OFFLINE": "0"})
    assert "The hub is not asked" not in comments(unit(online, needs_no_hub=True))
    assert environment(unit(online, needs_no_hub=True))["HF_HUB_OFFLINE"] == "0"


def test_in_a_container_they_are_off_as_well() -> None:
    text = unit(replace(HUB, engine=PODMAN))
    assert "--env=VLLM_NO_USAGE_STATS=1" in argv(text)
    assert "--env=RAY_USAGE_STATS_ENABLED=0" in argv(text)
    assert "vLLM's usage reports are off" in comments(text)
    asked = unit(replace(HUB, engine=PODMAN, environment={"DO_NOT_TRACK": "0"}))
    assert "--env=DO_NOT_TRACK=0" in argv(asked)
    assert not [word for word in argv(asked) if "USAGE_STATS" in word]
