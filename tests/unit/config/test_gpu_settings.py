# SPDX-License-Identifier: Apache-2.0
"""[power] and [thermal] of agent.toml: what is read, and which mistakes are found."""

from __future__ import annotations

import pytest

from agent.config.agent_toml import parse
from agent.core.settings.changes import changes
from agent.core.settings.gpus import CardLimits, Power, Thermal, ThermalAction
from agent.errors import ConfigError


def mistakes(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as refused:
        parse(text, "agent.toml")
    return refused.value.mistakes


def test_a_limit_for_all_and_one_for_a_card_by_its_name() -> None:
    text = """
        [power]
        limit_watts = 400
        persistence_mode = true
        [power.gpu."*H200*"]
        limit_ratio = 0.8
        [power.gpu.1]
        lock_clocks_mhz = [0, 2100]
    """
    power = parse(text, "agent.toml").power
    assert power.persistence_mode
    assert power.limits_of("GPU-a", 0, "NVIDIA GeForce RTX 4090") == CardLimits(limit_watts=400.0)
    assert power.limits_of("GPU-b", 0, "NVIDIA H200") == CardLimits(limit_ratio=0.8)
    assert power.limits_of("GPU-c", 1, "NVIDIA GB10") == CardLimits(lock_clocks_mhz=(0, 2100))


def test_a_card_that_is_named_by_its_uuid_is_meant_whatever_its_case() -> None:
    power = Power(gpu={"GPU-5f": CardLimits(limit_watts=100.0)})
    assert power.limits_of("GPU-5f", 3, "x").limit_watts == 100.0
    assert power.limits_of("GPU-6a", 3, "x").limit_watts is None


def test_without_the_tables_nothing_is_asked() -> None:
    config = parse("", "agent.toml")
    assert not config.power.anything
    assert config.thermal == Thermal(action=ThermalAction.ALERT)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("[power]\nlimit_watts = 4", "line 2: power.limit_watts: 4 must be from 10 to 3000"),
        (
            "[power]\nlimit_watts = 400\nlimit_ratio = 0.8",
            "line 3: power.limit_ratio: beside limit_watts; keep one of the two",
        ),
        (
            '[power.gpu."*4090*"]\nlimit = 400',
            "line 2: power.gpu.*4090*.limit: unknown key; did you mean limit_watts?",
        ),
        (
            '[power.gpu."0"]\npersistence_mode = true',
            "line 2: power.gpu.0.persistence_mode: unknown key here; it belongs to [power]",
        ),
        (
            "[power]\nlock_clocks_mhz = [2100, 300]",
            "line 2: power.lock_clocks_mhz: [2100, 300] must rise and be from 0 to 10000 MHz",
        ),
        (
            "[power]\nlock_clocks_mhz = 2100",
            "line 2: power.lock_clocks_mhz: 2100 is not a pair of integers, as [0, 2100] in MHz",
        ),
        ("[power]\ngpu = 3", 'line 2: power.gpu: 3 is not a table; write [power.gpu."*RTX 4090*"]'),
        (
            '[thermal]\naction = "lower-power"',
            "line 2: thermal.action: 'lower-power' is not one of alert, lower_power, drain; "
            "did you mean lower_power?",
        ),
        (
            "[thermal]\nwarning_celsius = 90\ncritical_celsius = 85",
            "line 3: thermal.critical_celsius: 85 must be above warning_celsius (90)",
        ),
        ("[thermal]\nwarning_celsius = 200", "must be from 30 to 120"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, mistake: str) -> None:
    (found,) = mistakes(text)
    assert mistake in found


def test_a_reload_says_what_changed() -> None:
    old = parse("[power]\nlimit_watts = 400", "agent.toml")
    new = parse(
        '[power.gpu."0"]\nlimit_watts = 300\n[thermal]\naction = "drain"',
        "agent.toml",
    )
    assert changes(old, new) == (
        "power.limit_watts: 400.0 -> unset",
        "power.gpu: {} -> {0={limit_watts=300.0}}",
        "thermal.action: alert -> drain",
    )
