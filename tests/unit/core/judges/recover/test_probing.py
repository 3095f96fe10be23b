# SPDX-License-Identifier: Apache-2.0
"""Back up at night: what was learned is tried nearer to what was asked, or left for a week."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from agent.core.codec import decode, encode
from agent.core.engine.metrics import Counters
from agent.core.failures.classes import FailureClass
from agent.core.gpu.reading import Driver, Gpus
from agent.core.settings.recovery import Recovery, Window
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.observations import GpusSeen
from agent.core.state.phases import Phase
from agent.core.state.service import ServiceState
from tests.given.simulated_engine import Card
from tests.given.simulated_host import SimulatedHost
from tests.given.some_gpus import DRIVER, H200

F = FailureClass
HOUR = 3600
DAY = 24 * HOUR
WINDOW = Window(3 * HOUR, 5 * HOUR)


class QuietHost(SimulatedHost):
    """Serves, and nobody asks anything of it unless `busy`."""

    busy = False

    def _see_api(self, service: str, run: Any) -> None:
        if self.busy:
            super()._see_api(service, run)
        else:
            super()._see_api(service, replace(run, work=0.0))
            s = self.service(service)
            idle = Counters(running=0, generation_tokens=run.work)
            live = replace(s.live, counters=idle, counters_at=self.now)
            self.state = replace(
                self.state, services={**self.state.services, service: replace(s, live=live)}
            )


def lowered(window: Window | None = WINDOW, **settings: Any) -> QuietHost:
    """A host at noon, where a neighbour had made the utilization 0.86 instead of 0.9."""
    asked: dict[str, Any] = {"gpu_memory_utilization": 0.9, "max_model_len": 8192} | settings
    policy = ServicePolicy(
        Settings("vllm", "/srv/m", **asked), recovery=Recovery(probe_window=window)
    )
    host = QuietHost({"vllm": policy}, Card(others=3.0), now=100 * DAY + 12.0 * HOUR)
    host.agent_starts()
    host.carry_out()
    assert host.serving_within(300)
    return host


def used(host: SimulatedHost) -> list[float | None]:
    return [settings.gpu_memory_utilization for _, _, settings in host.starts]


def nights(host: SimulatedHost, count: float) -> None:
    host.pass_time(count * DAY, step=20.0)


def test_each_night_one_step_until_what_was_asked_runs_again() -> None:
    host = lowered()
    host.card.others = 0.5
    assert used(host) == [0.9, 0.86]
    nights(host, 1)
    assert used(host)[2:] == [0.88]
    nights(host, 1)
    assert used(host)[2:] == [0.88, 0.9]
    assert host.service().learned.overrides == {}
    nights(host, 3)
    assert len(host.starts) == 4


def test_only_within_the_window_and_only_when_there_is_one() -> None:
    host = lowered()
    host.card.others = 0.5
    host.pass_time(14 * HOUR, step=20.0)  # 02:00
    assert len(host.starts) == 2
    never = lowered(window=None)
    never.card.others = 0.5
    nights(never, 2)
    assert len(never.starts) == 2


def test_not_while_anything_is_asked_of_the_service() -> None:
    host = lowered()
    host.card.others = 0.5
    host.busy = True
    nights(host, 2)
    assert len(host.starts) == 2


def test_not_while_the_driver_lets_no_new_process_start() -> None:
    host = lowered()
    host.card.others = 0.5
    upgraded = Driver(library_version="550.90.07", module_version="550.54.14")
    host.observe(GpusSeen(host.now, Gpus(host.now, driver=upgraded)))
    nights(host, 2)
    assert len(host.starts) == 2


def test_what_fails_is_taken_back_and_left_alone_for_a_week() -> None:
    host = lowered()
    nights(host, 1)  # the neighbour is still there: 0.88 is refused, and not for our own memory
    assert used(host)[2:] == [0.88, 0.88, 0.86]
    assert host.service().phase is Phase.SERVING
    assert host.service().learned.overrides["gpu_memory_utilization"].running == 0.86
    assert any("taken back for 7 days" in line.message for line in host.history)
    nights(host, 6)
    assert len(host.starts) == 5
    nights(host, 2)
    assert used(host)[5:6] == [0.88]


def test_a_failure_of_another_kind_says_nothing_about_the_trial() -> None:
    host = lowered()
    host.card.others = 0.5
    host.pass_time(15 * HOUR + 120, step=20.0)
    assert used(host)[-1] == 0.88
    host.dies(F.HUB_UNREACHABLE, status=1)
    host.carry_out()
    assert host.serving_within(300)
    assert used(host)[-1] == 0.88


def test_a_length_goes_half_way_back_and_a_value_above_the_asked_one_stays() -> None:
    host = lowered(gpu_memory_utilization=0.97, max_model_len=60_000)
    before = host.service().learned.overrides["max_model_len"].running
    raised = host.service().learned.overrides.get("gpu_memory_utilization")
    assert raised is None or raised.running <= 0.97
    host.card.others = 0.3
    nights(host, 12)
    assert host.starts[-1][2].max_model_len is not None
    assert host.starts[-1][2].max_model_len > before


def test_a_trial_survives_a_restart_of_the_agent() -> None:
    host = lowered()
    host.card.others = 0.5
    host.pass_time(15 * HOUR + 30, step=10.0)
    probes = host.service().learned.probes
    assert not probes["gpu_memory_utilization"].over
    stored = json.loads(json.dumps(encode(host.service(), frozenset({"live"}))))
    assert decode(ServiceState, stored).learned.probes == probes
    host.agent_starts()
    assert host.serving_within(300)
    host.pass_time(700)
    assert host.service().learned.probes["gpu_memory_utilization"].over


@pytest.mark.parametrize(
    ("window", "hour", "inside"),
    [
        (Window(3 * HOUR, 5 * HOUR), 4, True),
        (Window(3 * HOUR, 5 * HOUR), 5, False),
        (Window(23 * HOUR, 2 * HOUR), 1, True),
        (Window(23 * HOUR, 2 * HOUR), 23, True),
        (Window(23 * HOUR, 2 * HOUR), 12, False),
    ],
)
def test_a_window_may_pass_midnight(window: Window, hour: int, inside: bool) -> None:
    assert window.holds(hour * HOUR) is inside


def test_a_window_is_shown_as_agent_toml_has_it() -> None:
    assert str(Window(3 * HOUR, 5 * HOUR + 1800)) == "03:00-05:30"


def test_a_driver_under_which_it_would_not_come_up_again_is_no_time_for_a_trial() -> None:
    host = lowered()
    host.card.others = 0.5
    driver = replace(DRIVER, library_version="590.10")
    host.observe(GpusSeen(host.now, Gpus(host.now, (H200,), driver)))
    nights(host, 2)
    assert len(host.starts) == 2
