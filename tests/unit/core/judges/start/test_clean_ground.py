# SPDX-License-Identifier: Apache-2.0
"""Nothing is started into memory, control groups or drivers that would make the start fail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.core.diagnosis.numbers import Numbers
from agent.core.failures.classes import FailureClass
from agent.core.gpu.reading import Driver, Gpu, GpuProcess, Gpus
from agent.core.judges.holders.processes import strangers
from agent.core.judges.start.gates import GIVE_BACK_SECONDS, LOOK_SECONDS
from agent.core.judges.start.leftovers import CANNOT_DIE_SECONDS
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.actions import Reap, Start
from agent.core.state.host import News
from agent.core.state.observations import GpusSeen
from agent.core.state.phases import Phase
from agent.core.state.unit import Leftover, UnitFacts
from tests.given.cluster.two_hosts import of_two
from tests.given.simulated_host import SimulatedHost

F = FailureClass
GIB = 2**30
OURS = GpuProcess(4242, "VLLM::EngineCor", int(11.2 * GIB), "vllm.service")
LEFT = Leftover(4242, "VLLM::EngineCor")
STRANGER = GpuProcess(812, "ollama", 6 * GIB, "ollama.service")
WELL = Driver("550.54.14", "550.54.14", "550.54.14")
UPGRADED = replace(WELL, library_version="550.90.07")


def host_with(*services: Settings) -> SimulatedHost:
    services = services or (Settings("vllm", "/srv/m", max_model_len=8192),)
    host = SimulatedHost({s.name: ServicePolicy(s) for s in services})
    host.agent_starts()
    host.carry_out()
    return host


def serving() -> SimulatedHost:
    host = host_with()
    look(host)
    assert host.serving_within(120)
    return host


def look(host: SimulatedHost, *processes: GpuProcess, driver: Driver = WELL) -> None:
    """NVML is asked, and what comes of it is carried out."""
    cards = (
        Gpu(0, "GPU-aaaa", "RTX 4090", processes=processes),
        Gpu(1, "GPU-bbbb", "RTX 4090", processes=()),
    )
    host.observe(GpusSeen(host.now, Gpus(host.now, cards, driver)))
    host.carry_out()


def ends(host: SimulatedHost, *leaves: Leftover) -> None:
    """The engine dies; systemd has stopped what it could when the agent looks."""
    host.units["vllm"] = replace(host.units["vllm"], leftovers=leaves)
    host.dies(F.ENGINE_DEAD)
    host.carry_out()


def kinds(host: SimulatedHost) -> list[str]:
    return [line.kind for line in host.history]


def test_a_start_waits_until_the_previous_runs_memory_is_given_back() -> None:
    host = serving()
    look(host, OURS)
    host.pass_time(1)
    ends(host)
    assert len(host.starts) == 1, "the last look is older than the end of the run"
    host.pass_time(1)
    look(host, OURS)
    assert host.service().live.blocked_by == (
        "waits until process 4242 of the previous run gives back 11.2 GiB of GPU 0"
    )
    host.pass_time(1)
    look(host)
    assert len(host.starts) == 2
    assert kinds(host).count("wait") == 1


def test_a_dying_process_is_still_ours_when_it_has_lost_its_control_group() -> None:
    host = serving()
    look(host, OURS)
    host.pass_time(1)
    ends(host)
    host.pass_time(1)
    look(host, replace(OURS, unit=""))
    assert len(host.starts) == 1
    assert "process 4242" in host.service().live.blocked_by


def test_memory_that_is_never_given_back_delays_a_start_by_a_minute_at_most() -> None:
    host = serving()
    look(host, OURS)
    host.pass_time(1)
    ends(host)
    died = host.now
    while len(host.starts) == 1:
        host.pass_time(1)
        look(host, OURS)
    assert GIVE_BACK_SECONDS <= host.now - died <= GIVE_BACK_SECONDS + 2


def test_a_strangers_memory_delays_no_start() -> None:
    host = serving()
    look(host, OURS, STRANGER)
    host.pass_time(1)
    ends(host)
    host.pass_time(1)
    look(host, STRANGER)
    assert len(host.starts) == 2


def test_a_silent_nvml_delays_a_start_by_a_moment_only() -> None:
    host = serving()
    look(host, OURS)
    host.pass_time(1)
    ends(host)
    host.pass_time(LOOK_SECONDS + 1)
    assert len(host.starts) == 2


@pytest.mark.parametrize("driver", [None, Driver(problem="libnvidia-ml.so.1 is not there")])
def test_without_nvml_a_start_waits_for_nothing(driver: Driver | None) -> None:
    host = host_with()
    assert host.serving_within(120)
    if driver is not None:
        look(host, OURS, driver=driver)
    ends(host)
    assert len(host.starts) == 2


def test_what_is_left_in_the_units_control_group_is_killed_before_the_start() -> None:
    host = serving()
    done: list[object] = []
    host.on_action = lambda action: done.append(type(action))
    ends(host, LEFT)
    host.pass_time(5)
    assert done.count(Reap) == 1
    assert done.index(Reap) < done.index(Start)
    assert [k for k in kinds(host) if k.startswith("reap")] == ["reap", "reaped"]
    assert host.serving_within(120)


def undead() -> tuple[SimulatedHost, list[float]]:
    """A process of the dead run hangs in the kernel: no signal ends it."""
    host = serving()
    host.undead = True
    kills: list[float] = []
    host.on_action = lambda a: kills.append(host.now) if isinstance(a, Reap) else None
    ends(host, LEFT)
    return host, kills


def test_what_outlives_sigkill_is_told_once_and_no_longer_killed_at_speed() -> None:
    host, kills = undead()
    for _ in range(240):
        host.pass_time(1)
        look(host, OURS)
    told = [line for line in host.history if line.kind == "undead"]
    assert len(told) == 1
    assert "reboot" in told[0].message
    assert host.service().live.blocked_by == told[0].message
    assert len(kills) <= CANNOT_DIE_SECONDS / 10 + 2
    assert len(host.starts) == 1
    host.units["vllm"] = UnitFacts("inactive", "dead")
    host.see_units()
    host.pass_time(1)
    look(host)
    assert len(host.starts) == 2, "it goes on by itself once the process is gone"


def test_beside_an_undead_process_without_gpu_memory_a_start_is_tried_in_the_end() -> None:
    host, _ = undead()
    host.pass_time(CANNOT_DIE_SECONDS + Recovery().backoff_max_seconds - 10)
    assert len(host.starts) == 1
    host.pass_time(30)
    assert len(host.starts) == 2


def test_an_undead_process_with_gpu_memory_keeps_every_start_away() -> None:
    host, _ = undead()
    for _ in range(1200):
        host.pass_time(1)
        look(host, OURS)
    assert len(host.starts) == 1


def test_leftovers_of_a_service_that_an_operator_stopped_are_left_alone() -> None:
    host = serving()
    host.operator_stops()
    host.units["vllm"] = replace(host.units["vllm"], leftovers=(LEFT,))
    acted: list[object] = []
    host.on_action = acted.append
    host.see_units()
    host.pass_time(60)
    assert host.service().phase is Phase.STOPPED
    assert not acted


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        (("all",), ("1",), False),
        (("0",), ("GPU-aaaa",), False),
        (("0",), ("GPU-bbbb",), True),
        (("0",), ("1",), True),
        (("GPU-aaaa",), ("GPU-aaaa", "GPU-bbbb"), False),
    ],
)
def test_services_start_one_after_the_other_where_they_share_a_card(
    one: tuple[str, ...], other: tuple[str, ...], *, together: bool
) -> None:
    host = host_with(
        Settings("vllm", "/srv/m", gpus=one, max_model_len=8192),
        Settings("embed", "/srv/e", gpus=other, port=8001, max_model_len=8192),
    )
    # Both fail on a host that knows its cards by now, and come back.
    assert host.serving_within(300)
    assert host.serving_within(300, "embed")
    look(host)
    for name in ("vllm", "embed"):
        host.dies(F.ENGINE_DEAD, service=name)
    host.pass_time(1)
    look(host)
    host.pass_time(2)
    assert len(host.starts) == 2 + 1 + together
    assert host.serving_within(300)
    assert host.serving_within(300, "embed")


def test_a_driver_mismatch_leaves_a_serving_service_alone() -> None:
    host = serving()
    look(host, driver=UPGRADED)
    host.pass_time(600)
    assert host.service().phase is Phase.SERVING
    assert len(host.starts) == 1


def test_a_restart_that_a_new_configuration_needs_waits_for_the_drivers_parts_to_agree() -> None:
    host = serving()
    look(host, driver=UPGRADED)
    policy = host.policies["vllm"]
    host.policies = {"vllm": replace(policy, settings=replace(policy.settings, max_num_seqs=16))}
    host.reload()
    host.pass_time(300)
    assert host.service().phase is Phase.SERVING
    assert any("waits for a reboot" in line.message for line in host.history)
    look(host)
    assert host.serving_within(120)
    assert [s.max_num_seqs for _, _, s in host.starts] == [None, 16]


def test_a_restart_that_is_no_longer_needed_does_not_happen() -> None:
    host = serving()
    look(host, driver=UPGRADED)
    policy = host.policies["vllm"]
    host.policies = {"vllm": replace(policy, settings=replace(policy.settings, max_num_seqs=16))}
    host.reload()
    host.policies = {"vllm": policy}
    host.reload()
    look(host)
    host.pass_time(60)
    assert len(host.starts) == 1


def test_a_service_that_dies_in_a_driver_mismatch_is_held_and_comes_back_by_itself() -> None:
    host = serving()
    look(host, driver=UPGRADED)
    ends(host)
    host.pass_time(3600)
    s = host.service()
    assert (s.phase, len(host.starts)) == (Phase.HELD, 1)
    assert "550.90.07" in s.reason
    assert "Reboot" in s.what_to_do
    look(host)
    assert host.serving_within(120)
    assert host.service().what_to_do == ""


def test_a_mismatch_that_only_the_log_knew_is_not_tried_again_without_news() -> None:
    host = serving()
    host.dies(F.NVML_MISMATCH, status=1)
    host.carry_out()
    look(host)
    host.pass_time(600)
    look(host)
    assert (host.service().phase, len(host.starts)) == (Phase.HELD, 1)


def test_no_start_is_asked_for_twice_however_often_the_gpus_are_looked_at() -> None:
    host = host_with()
    started: list[Start] = []
    host.on_action = lambda a: started.append(a) if isinstance(a, Start) else None
    host.dies(F.ENGINE_DEAD)
    for _ in range(5):
        host.pass_time(0.2, step=0.2)
        look(host)
    assert len(started) == 1


def failed_for_want_of_memory(host: SimulatedHost, numbers: Numbers | None = None) -> News:
    host.dies(F.OOM_FREE_MEM_STARTUP, numbers, status=1)
    host.carry_out()
    return next(line for line in reversed(host.history) if line.kind == "failure")


def test_a_stranger_that_holds_the_cards_memory_is_named_with_the_failure() -> None:
    host = host_with()
    look(host, STRANGER, replace(OURS, pid=1, used_bytes=100))
    told = failed_for_want_of_memory(host)
    assert "process 812 (ollama) of ollama.service holds 6.0 GiB of GPU 0" in told.message
    assert told.data["strangers"] == [
        {
            "pid": 812,
            "command": "ollama",
            "unit": "ollama.service",
            "used_bytes": 6 * GIB,
            "gpus": [0],
        }
    ]


def test_a_stranger_on_other_cards_is_not_to_blame() -> None:
    host = host_with(Settings("vllm", "/srv/m", gpus=("1",), max_model_len=8192))
    look(host, STRANGER)
    assert "ollama" not in failed_for_want_of_memory(host).message


def test_the_memory_of_rays_workers_is_the_services_own() -> None:
    over_ray = replace(of_two(0), peers=("http://a:1",), ray_port=6379)
    service = Settings("vllm", "/srv/m", cluster=over_ray)
    worker = replace(OURS, unit="vllm-ray.service")
    cards = (Gpu(0, "GPU-aaaa", "RTX 4090", processes=(worker, STRANGER)),)
    gpus = Gpus(1.0, cards, WELL)
    assert [one.command for one in strangers(gpus, service)] == ["ollama"]
    alone = strangers(gpus, replace(service, cluster=None))
    assert len(alone) == 2, "nobody said that this Ray is of the service"


def test_without_nvml_the_process_that_torch_names_is_named() -> None:
    host = host_with()
    told = failed_for_want_of_memory(host, Numbers(neighbour_gib=6.02, neighbour_pid=812))
    assert "process 812 held 6.0 GiB of it, says torch" in told.message
