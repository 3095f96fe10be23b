# SPDX-License-Identifier: Apache-2.0
"""Incidents, told as they happen: what the agent does and what it must not do."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from agent.core.diagnosis.numbers import Numbers
from agent.core.failures.classes import FailureClass
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import Expectations, OnMismatch, ServicePolicy, Settings
from agent.core.state.actions import Start, Stop
from agent.core.state.observations import CanaryDone, UnitSeen
from agent.core.state.phases import Phase
from agent.core.state.unit import UnitFacts
from agent.core.verify.check import Check, Verdict
from tests.given.simulated_engine import Card
from tests.given.simulated_host import SimulatedHost

F = FailureClass


def host_with(
    card: Card | None = None, recovery: Recovery | None = None, **settings: object
) -> SimulatedHost:
    policy = ServicePolicy(
        Settings("vllm", "/srv/models/llama", **settings),  # type: ignore[arg-type]
        recovery=recovery or Recovery(),
    )
    host = SimulatedHost({"vllm": policy}, card or Card())
    host.agent_starts()
    host.carry_out()
    return host


def served(host: SimulatedHost) -> SimulatedHost:
    assert host.serving_within(300)
    return host


def test_a_configured_service_is_started_and_serves_once_it_is_verified() -> None:
    host = served(host_with(gpu_memory_utilization=0.9, max_model_len=8192))
    assert len(host.starts) == 1
    assert host.service().start_seconds == pytest.approx(host.start_takes, abs=2)


def test_too_high_a_utilization_is_lowered_to_what_the_printed_numbers_allow() -> None:
    host = served(host_with(Card(others=3.0), gpu_memory_utilization=0.95, max_model_len=8192))
    # (21 GiB free - 0.3) / 24 GiB = 0.8625
    assert [s.gpu_memory_utilization for _, _, s in host.starts] == [0.95, 0.86]
    override = host.service().learned.overrides["gpu_memory_utilization"]
    assert (override.asked, override.running) == (0.95, 0.86)
    assert host.service().restarts == {F.OOM_FREE_MEM_STARTUP: 1}


def test_too_little_memory_for_the_kv_cache_raises_the_utilization_and_never_lowers_it() -> None:
    host = served(host_with(gpu_memory_utilization=0.7, max_model_len=8192))
    used = [s.gpu_memory_utilization or 0 for _, _, s in host.starts]
    assert used == sorted(used)
    assert used[-1] <= Recovery().max_gpu_memory_utilization


def test_a_context_that_cannot_fit_is_shortened_to_vllms_own_estimate() -> None:
    card = Card(others=2.0)
    host = served(host_with(card, gpu_memory_utilization=0.9, max_model_len=131072))
    final = host.starts[-1][2]
    assert final.max_model_len is not None
    assert final.max_model_len % 256 == 0
    assert final.max_model_len < 131072
    assert len(host.starts) <= 5


def test_a_context_below_its_floor_is_not_served_but_held() -> None:
    host = host_with(
        Card(weights=19.9),
        gpu_memory_utilization=0.9,
        max_model_len=32768,
        recovery=Recovery(min_max_model_len=16384, max_gpu_memory_utilization=0.9),
    )
    host.pass_time(600)
    assert host.service().phase is Phase.HELD
    assert host.service().what_to_do


def test_weights_that_do_not_fit_are_held_at_once_with_what_to_do() -> None:
    host = host_with(Card(weights=40.0), gpu_memory_utilization=0.9)
    host.pass_time(600)
    assert host.service().phase is Phase.HELD
    assert len(host.starts) == 1
    assert host.service().what_to_do


def test_engine_death_with_exit_status_0_is_a_failure_and_is_restarted_at_once() -> None:
    host = served(host_with(gpu_memory_utilization=0.9, max_model_len=8192))
    host.dies(None, status=0)
    host.carry_out()
    assert len(host.starts) == 2
    assert host.service().restarts == {F.ENGINE_DEAD: 1}
    assert host.serving_within(120)


def test_an_unknown_crash_is_tried_again_with_growing_waits_and_never_given_up() -> None:
    host = host_with(gpu_memory_utilization=0.9, max_model_len=8192)
    times = []
    for _ in range(8):
        while "vllm" not in host.runs:
            host.pass_time(1)
        times.append(host.now)
        host.dies(F.UNKNOWN, status=1)
        host.carry_out()
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps == sorted(gaps)
    assert max(gaps) <= Recovery().backoff_max_seconds + 2
    assert host.service().phase is not Phase.HELD


def test_no_more_starts_in_an_hour_than_allowed_whatever_fails() -> None:
    recovery = Recovery(max_starts_per_hour=5, backoff_max_seconds=10)
    host = host_with(recovery=recovery, gpu_memory_utilization=0.9, max_model_len=8192)
    for _ in range(4000):
        host.pass_time(1)
        if "vllm" in host.runs:
            host.dies(F.UNKNOWN, status=1)
            host.carry_out()
    times = [at for at, _, _ in host.starts]
    for first in times:
        assert sum(first <= at < first + 3600 for at in times) <= 5


def test_alternating_failures_do_not_restart_for_ever_at_speed() -> None:
    """The counter is not reset when the class changes, only when the service has settled."""
    host = host_with(gpu_memory_utilization=0.9, max_model_len=8192)
    classes = [F.OOM_RUNTIME, F.ENGINE_DEAD] * 10
    waits = []
    for failure in classes:
        while "vllm" not in host.runs:
            host.pass_time(1)
        assert host.serving_within(120)
        began = host.now
        host.dies(failure, Numbers(total_gib=24.0))
        host.carry_out()
        while "vllm" not in host.runs:
            host.pass_time(1)
        waits.append(host.now - began)
    assert waits[-1] > 60
    floor = Recovery().min_gpu_memory_utilization
    assert all((s.gpu_memory_utilization or 1) >= floor for _, _, s in host.starts)


def test_a_service_that_served_long_enough_has_its_failures_forgotten() -> None:
    host = served(host_with(gpu_memory_utilization=0.9, max_model_len=8192))
    host.dies(F.ENGINE_DEAD)
    host.carry_out()
    assert host.serving_within(120)
    assert host.service().learned.attempts == 1
    host.pass_time(Recovery().settle_seconds + 5)
    assert host.service().learned.attempts == 0


def test_a_permanent_mistake_is_held_after_one_start_and_stopped() -> None:
    host = host_with(gpu_memory_utilization=0.9, max_model_len=8192)
    host.pass_time(5)
    host.dies(F.UNKNOWN_ARG, status=2)
    host.pass_time(3600)
    assert host.service().phase is Phase.HELD
    assert len(host.starts) == 1
    assert host.units["vllm"].active_state == "inactive"


def test_a_held_service_starts_again_with_a_corrected_configuration() -> None:
    host = host_with(gpu_memory_utilization=0.9, extra_args=("--no-such-flag",))
    host.pass_time(5)
    host.dies(F.UNKNOWN_ARG, status=2)
    host.pass_time(60)
    policy = host.policies["vllm"]
    host.policies = {"vllm": replace(policy, settings=replace(policy.settings, extra_args=()))}
    host.reload()
    host.carry_out()
    assert host.serving_within(120)
    assert host.service().what_to_do == ""


def test_an_operators_stop_is_respected_until_the_operator_starts_it() -> None:
    host = served(host_with(gpu_memory_utilization=0.9, max_model_len=8192))
    host.operator_stops()
    host.pass_time(7200)
    assert host.service().phase is Phase.STOPPED
    assert len(host.starts) == 1
    host.agent_starts()
    host.pass_time(60)
    assert host.service().phase is Phase.STOPPED
    host.operator_starts()
    assert host.serving_within(120)


@pytest.mark.parametrize("sub_state", ["dead-before-auto-restart", "auto-restart-queued"])
def test_no_state_on_the_way_to_an_automatic_restart_is_an_operators_stop(sub_state: str) -> None:
    """systemd 254 and later show these for a moment after a death."""
    host = served(host_with(gpu_memory_utilization=0.9, max_model_len=8192))
    unit = replace(host.units["vllm"], active_state="inactive", sub_state=sub_state, main_pid=0)
    host.observe(UnitSeen(host.now, "vllm", unit))
    assert host.service().phase is Phase.EXAMINING


def test_a_unit_that_somebody_else_wrote_is_never_touched() -> None:
    policy = ServicePolicy(Settings("vllm", "/srv/models/llama"))
    host = SimulatedHost({"vllm": policy})
    theirs = "/etc/systemd/system/vllm.service"
    running = UnitFacts("active", "running", main_pid=77, invocation_id="a" * 32, foreign=theirs)
    host.units["vllm"] = running
    done: list[object] = []
    host.on_action = done.append
    host.agent_starts()
    host.pass_time(3000)
    host.units["vllm"] = replace(running, active_state="activating", sub_state="auto-restart")
    host.see_units()
    host.pass_time(3000)
    assert host.service().phase is Phase.HELD
    assert theirs in host.service().reason
    assert done == []
    del host.units["vllm"]
    host.see_units()
    assert host.serving_within(120)


def test_a_unit_that_the_operator_takes_over_is_let_go() -> None:
    host = served(host_with(gpu_memory_utilization=0.9, max_model_len=8192))
    host.units["vllm"] = replace(host.units["vllm"], foreign="/etc/systemd/system/vllm.service")
    host.see_units()
    host.hangs()
    host.pass_time(3000)
    assert host.service().phase is Phase.HELD
    assert "vllm" in host.runs


THEIRS = "/etc/systemd/system/vllm.service"


def test_what_the_operator_stopped_stays_stopped_when_a_taken_over_name_is_given_back() -> None:
    host = served(host_with(gpu_memory_utilization=0.9, max_model_len=8192))
    host.operator_stops()
    stopped = host.units["vllm"]
    host.units["vllm"] = replace(stopped, foreign=THEIRS)
    host.see_units()
    assert host.service().phase is Phase.HELD
    host.agent_starts()
    host.units["vllm"] = stopped
    host.see_units()
    host.pass_time(3000)
    assert host.service().phase is Phase.STOPPED
    assert "the name vllm.service is free now; stopped by the operator" in host.service().reason
    assert len(host.starts) == 1


def test_a_name_that_is_given_back_does_not_renew_the_budget_of_starts() -> None:
    recovery = Recovery(max_starts_per_hour=5, backoff_max_seconds=10)
    host = host_with(recovery=recovery, gpu_memory_utilization=0.9, max_model_len=8192)
    for _ in range(600):
        host.pass_time(1)
        if "vllm" in host.runs:
            host.dies(F.UNKNOWN, status=1)
            host.carry_out()
    assert len(host.starts) == 5
    down = host.units["vllm"]
    host.units["vllm"] = replace(down, foreign=THEIRS)
    host.see_units()
    host.units["vllm"] = down
    host.see_units()
    host.pass_time(600)
    assert host.service().phase is Phase.WAITING
    assert len(host.starts) == 5
    assert host.serving_within(3600)


def test_an_edit_of_what_is_held_is_tried_at_once_though_the_hours_starts_are_spent() -> None:
    recovery = Recovery(max_starts_per_hour=1)
    host = host_with(recovery=recovery, gpu_memory_utilization=0.9, max_model_len=8192)
    host.pass_time(1)
    host.dies(F.UNKNOWN_ARG, status=2)
    host.carry_out()
    host.pass_time(10)
    assert host.service().phase is Phase.HELD
    edited = replace(host.policies["vllm"].settings, max_model_len=4096)
    host.policies["vllm"] = replace(host.policies["vllm"], settings=edited)
    host.reload()
    assert host.serving_within(120)


def test_a_service_that_left_the_file_is_left_running_and_not_watched_any_more() -> None:
    host = served(host_with(gpu_memory_utilization=0.9, max_model_len=8192))
    host.policies = {}
    host.reload()
    host.carry_out()
    assert host.state.services == {}
    assert "vllm" in host.runs
    assert "no longer in agent.toml" in host.history[-1].message


def test_an_operators_stop_is_forgotten_by_a_reboot() -> None:
    host = served(host_with(gpu_memory_utilization=0.9, max_model_len=8192))
    host.operator_stops()
    host.reboots()
    assert host.serving_within(120)


def test_a_restart_of_the_agent_adopts_what_runs() -> None:
    host = served(host_with(gpu_memory_utilization=0.9, max_model_len=8192))
    host.agent_starts()
    host.pass_time(1200)
    assert len(host.starts) == 1
    assert host.service().phase is Phase.SERVING


def test_an_agent_without_memory_adopts_what_runs() -> None:
    host = served(host_with(gpu_memory_utilization=0.9, max_model_len=8192))
    host.state = type(host.state)()
    host.agent_starts()
    assert host.serving_within(60)
    assert len(host.starts) == 1


def test_a_configuration_edited_while_the_agent_was_away_waits_for_a_reload() -> None:
    host = served(host_with(gpu_memory_utilization=0.9, max_model_len=8192))
    policy = host.policies["vllm"]
    host.policies = {"vllm": replace(policy, settings=replace(policy.settings, max_num_seqs=64))}
    host.agent_starts()
    host.pass_time(60)
    assert len(host.starts) == 1
    host.reload()
    host.carry_out()
    assert host.serving_within(120)
    assert host.starts[-1][2].max_num_seqs == 64


def test_a_reload_that_changes_nothing_that_needs_it_restarts_nothing() -> None:
    host = served(host_with(gpu_memory_utilization=0.9, max_model_len=8192))
    policy = host.policies["vllm"]
    host.policies = {"vllm": replace(policy, recovery=Recovery(settle_seconds=60))}
    host.reload()
    host.pass_time(60)
    assert len(host.starts) == 1


def test_learned_settings_are_used_at_the_next_start_and_forgotten_with_another_model() -> None:
    host = served(host_with(Card(others=3.0), gpu_memory_utilization=0.95, max_model_len=8192))
    host.dies(F.ENGINE_DEAD)
    host.carry_out()
    assert host.serving_within(120)
    assert host.starts[-1][2].gpu_memory_utilization == 0.86
    policy = host.policies["vllm"]
    other = replace(policy.settings, model="/srv/models/other")
    host.policies = {"vllm": replace(policy, settings=other)}
    host.reload()
    host.carry_out()
    assert host.starts[-1][2].gpu_memory_utilization == 0.95


def test_a_hung_engine_is_killed_after_its_one_token_requests_failed() -> None:
    host = served(host_with(gpu_memory_utilization=0.9, max_model_len=8192))
    host.pass_time(30)
    host.hangs()
    seen: list[object] = []
    host.on_action = seen.append
    host.pass_time(2 * Recovery().hang_seconds - 10)
    assert not [a for a in seen if isinstance(a, Stop)]
    host.pass_time(60)
    assert [a.kill for a in seen if isinstance(a, Stop)] == [True]
    assert host.service().restarts == {F.ENGINE_HUNG: 1}
    assert host.serving_within(120)


def test_a_busy_engine_whose_tokens_move_is_never_killed() -> None:
    host = served(host_with(gpu_memory_utilization=0.9, max_model_len=8192))
    for _ in range(600):
        host.pass_time(2)
        s = host.service()
        host.observe(
            CanaryDone(host.now, "vllm", s.invocation_id, False, 60.0, "no answer in 60 s")
        )
    assert len(host.starts) == 1


def test_an_overloaded_front_end_is_given_three_one_token_requests() -> None:
    """Neither /metrics nor a request is answered in time: late is not dead."""
    host = served(host_with(gpu_memory_utilization=0.9, max_model_len=8192))
    host.pass_time(30)
    host.runs["vllm"].hung = True
    host.metrics_are_silent = True
    began = host.now
    while host.service().restarts == {}:
        host.pass_time(1)
    assert host.now - began >= 3 * Recovery().hang_seconds
    assert host.service().restarts == {F.ENGINE_HUNG: 1}


def test_a_start_without_progress_is_killed_and_tried_again() -> None:
    host = host_with(
        gpu_memory_utilization=0.9,
        max_model_len=8192,
        recovery=Recovery(start_stall_seconds=60),
    )
    host.runs["vllm"].hung = True
    host.runs["vllm"].ready_at = host.now + 10_000
    while host.runs["vllm"].hung:
        host.pass_time(1)
        s = host.service()
        assert host.now - s.started_at < 70 or s.phase is not Phase.STARTING
    assert host.service().restarts == {F.START_STALLED: 1}
    assert host.serving_within(120)


def test_a_contradiction_is_told_and_served_or_stopped_as_on_mismatch_says() -> None:
    wrong = Check("linear_kernel", "marlin", "CPUWNA16LinearKernel", Verdict.CONTRADICTED, "line")
    for on_mismatch, phase in ((OnMismatch.ALERT, Phase.SERVING), (OnMismatch.STOP, Phase.HELD)):
        host = host_with(gpu_memory_utilization=0.9, max_model_len=8192)
        policy = host.policies["vllm"]
        host.policies = {"vllm": replace(policy, expect=Expectations(on_mismatch=on_mismatch))}
        host.checks = (wrong,)
        host.pass_time(host.start_takes + 10)
        assert host.service().phase is phase
        assert any("linear_kernel" in line.message for line in host.history)


def test_two_services_on_one_gpu_never_start_at_the_same_time() -> None:
    policies = {
        name: ServicePolicy(Settings(name, f"/srv/{name}", port=port, gpu_memory_utilization=0.4))
        for name, port in (("embed", 8001), ("chat", 8000))
    }
    card = Card(weights=2.0, activation=0.5, kv_gib_per_1024_tokens=0.01)
    host = SimulatedHost(policies, card)
    host.agent_starts()
    for _ in range(300):
        host.pass_time(1)
        starting = [s for s in host.state.services.values() if s.phase is Phase.STARTING]
        assert len(starting) <= 1
    assert all(s.phase is Phase.SERVING for s in host.state.services.values())


def test_two_services_on_different_gpus_start_side_by_side() -> None:
    policies = {
        name: ServicePolicy(Settings(name, f"/srv/{name}", gpus=(gpu,), max_model_len=4096))
        for name, gpu in (("embed", "0"), ("chat", "1"))
    }
    host = SimulatedHost(policies)
    host.agent_starts()
    host.pass_time(2)
    assert [s.phase for s in host.state.services.values()] == [Phase.STARTING, Phase.STARTING]


def test_exec_failures_of_systemd_itself_are_held_with_their_name() -> None:
    host = host_with(gpu_memory_utilization=0.9)
    host.pass_time(1)
    host.dies(None, status=203, result="exit-code")
    host.carry_out()
    assert host.service().phase is Phase.HELD
    assert "203/EXEC" in host.service().reason


def test_host_memory_is_not_cured_with_gpu_settings() -> None:
    host = served(host_with(gpu_memory_utilization=0.9, max_model_len=8192))
    host.dies(F.ENGINE_DEAD, result="oom-kill")
    host.carry_out()
    assert host.service().restarts == {F.HOST_OOM_KILLED: 1}
    assert host.service().learned.overrides == {}


def test_stale_news_of_an_earlier_run_changes_nothing() -> None:
    host = served(host_with(gpu_memory_utilization=0.9, max_model_len=8192))
    before = host.state
    host.observe(CanaryDone(host.now, "vllm", "0" * 32, answered=False, seconds=60))
    assert host.state == before


def test_an_unanswered_question_about_the_unit_starts_nothing() -> None:
    """Until the unit was seen once nobody knows whether something already runs."""
    policies = {"vllm": ServicePolicy(Settings("vllm", "/srv/m"))}
    host = SimulatedHost(policies)
    host.see_units = lambda: None  # type: ignore[method-assign]
    host.agent_starts()
    actions: list[object] = []
    host.on_action = actions.append
    host.pass_time(30)
    assert not [a for a in actions if isinstance(a, Start)]
    del host.see_units
    host.observe(UnitSeen(host.now, "vllm", UnitFacts("inactive", "dead")))
    host.pass_time(1)
    assert len(host.starts) == 1
