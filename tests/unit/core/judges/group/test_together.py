# SPDX-License-Identifier: Apache-2.0
"""All ranks of a group live and die together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.core.cluster.judge import START_ALONE_SECONDS
from agent.core.failures.classes import FailureClass
from agent.core.settings.recovery import Recovery
from agent.core.state.phases import Phase
from agent.core.state.steering.requests import AskDrain, AskPause, AskRestart, AskResume
from tests.unit.core.judges.group.hosts import SERVICE, Hosts


def served(size: int = 2) -> Hosts:
    hosts = Hosts(size)
    assert hosts.all_serve_within(120.0), hosts.phases
    return hosts


def test_all_start_together_and_the_rest_serves_as_soon_as_the_head_does() -> None:
    hosts = served(3)
    assert hosts.starts == [1, 1, 1]
    assert len({host.generation for host in hosts.hosts}) == 1


def test_nobody_starts_before_the_last_host_is_there() -> None:
    hosts = Hosts(2)
    hosts.power_off(1)
    hosts.pass_time(300.0)
    assert hosts.starts == [0, 0]
    assert "waits for gpu-1" in hosts.head.state.services["vllm"].live.blocked_by
    hosts.power_on(1)
    assert hosts.all_serve_within(120.0)


def test_a_rank_that_dies_takes_all_down_and_all_come_back_together() -> None:
    hosts = served(3)
    hosts.hosts[1].dies(FailureClass.WORKER_DIED)
    hosts.pass_time(20.0)
    assert hosts.starts == [2, 2, 2]
    assert hosts.all_serve_within(120.0)
    assert hosts.head.state.services["vllm"].failure is None


def test_the_heads_history_names_the_host_that_failed_and_why() -> None:
    hosts = served()
    hosts.hosts[1].dies(FailureClass.WORKER_DIED)
    hosts.pass_time(20.0)
    assert any("gpu-1 says: worker-died" in line for line in hosts.head.told("generation"))


def test_a_unit_on_its_way_down_begins_nothing_before_its_end_is_explained() -> None:
    """systemd ends the rest of a unit whose main process died: deactivating, for some seconds."""
    hosts = served()
    head, generation = hosts.head, hosts.head.generation
    head.units[SERVICE] = replace(
        head.units[SERVICE], active_state="deactivating", sub_state="stop-sigterm", main_pid=0
    )
    head.see_units()
    hosts.pass_time(5.0)
    assert {host.generation for host in hosts.hosts} == {generation}
    head.dies(FailureClass.CUDA_ILLEGAL_MEMORY_ACCESS)
    hosts.pass_time(20.0)
    assert "begins here: cuda-illegal-memory-access" in head.told("generation")[-1]


def test_a_head_that_dies_takes_its_silent_ranks_down() -> None:
    hosts = served()
    hosts.head.dies(FailureClass.CUDA_ILLEGAL_MEMORY_ACCESS)
    hosts.pass_time(20.0)
    assert hosts.hosts[1].phase is not Phase.SERVING
    assert hosts.all_serve_within(120.0)
    assert hosts.starts == [2, 2]


def test_a_head_that_dies_of_its_peers_death_tells_the_peers_cause_and_not_its_echo() -> None:
    hosts = served()
    hosts.head.dies(FailureClass.NCCL_ERROR)
    hosts.pass_time(8.0)
    hosts.hosts[1].dies(FailureClass.OOM_RUNTIME)
    hosts.pass_time(6.0)
    failure = hosts.head.state.services["vllm"].failure
    assert failure is not None
    assert failure.failure is FailureClass.PEER_LOST
    assert failure.evidence[0].startswith("gpu-1: oom-runtime")
    assert not [line for line in hosts.head.told("failure") if "nccl-error" in line]
    assert hosts.all_serve_within(120.0)


def test_of_two_deaths_at_once_all_hosts_tell_the_one_that_is_a_cause() -> None:
    hosts = served(3)
    hosts.head.dies(FailureClass.OOM_RUNTIME)
    hosts.hosts[1].dies(FailureClass.ENGINE_DEAD)
    hosts.pass_time(8.0)
    groups = [host.state.services["vllm"].group for host in hosts.hosts]
    causes = [group.cause.failure for group in groups if group is not None and group.cause]
    assert causes == ["oom-runtime"] * 3
    assert len({group.generation for group in groups if group is not None}) == 1


def test_a_head_that_dies_of_itself_waits_for_nobodys_word() -> None:
    hosts = served()
    hosts.head.dies(FailureClass.ENGINE_DEAD)
    hosts.pass_time(3.0)
    assert hosts.head.told("failure")
    killed = served()
    killed.head.dies(FailureClass.NCCL_ERROR, status=9, result="signal")
    killed.pass_time(3.0)
    assert killed.head.told("failure")


def test_an_echo_that_nobody_explains_is_told_as_what_it_is() -> None:
    hosts = served()
    hosts.head.dies(FailureClass.NCCL_ERROR)
    hosts.pass_time(20.0)
    failure = hosts.head.state.services["vllm"].failure
    assert failure is not None
    assert failure.failure is FailureClass.NCCL_ERROR
    assert hosts.all_serve_within(200.0)


def test_one_that_was_stopped_by_the_operator_takes_the_others_down_until_it_is_started() -> None:
    hosts = served()
    hosts.hosts[1].operator_stops()
    hosts.pass_time(120.0)
    assert hosts.phases == [Phase.WAITING, Phase.STOPPED]
    assert hosts.head.run is None
    assert "stopped by the operator" in hosts.head.state.services["vllm"].live.blocked_by
    hosts.hosts[1].operator_starts()
    assert hosts.all_serve_within(150.0)
    assert hosts.head.starts[-1][0] > hosts.now - 150.0


def test_a_rank_that_systemd_started_alone_is_ended_and_all_start_together() -> None:
    hosts = served()
    hosts.agent_dies(1)
    hosts.hosts[1].dies_alone_and_systemd_starts_it()
    hosts.pass_time(10.0)
    hosts.agent_returns(1)
    assert hosts.all_serve_within(200.0)
    assert not hosts.serves_alone()
    assert hosts.starts[0] == 2


def test_the_death_of_an_agent_costs_no_rank() -> None:
    hosts = served()
    for rank in (0, 1):
        hosts.agent_dies(rank)
        hosts.pass_time(200.0)
        hosts.agent_returns(rank)
        hosts.pass_time(30.0)
    assert hosts.starts == [1, 1]
    assert hosts.phases == [Phase.SERVING, Phase.SERVING]


def test_the_agent_of_the_other_host_is_told_of_when_it_is_away_and_when_it_is_back() -> None:
    hosts = served()
    hosts.agent_dies(1)
    hosts.pass_time(60.0)
    assert len(hosts.head.told("peer-away")) == 1
    assert "what runs goes on without it" in hosts.head.told("peer-away")[0]
    hosts.agent_returns(1)
    hosts.pass_time(10.0)
    assert hosts.head.told("peer-back") == ["gpu-1 answers again"]


def test_a_peer_whose_answer_hangs_is_told_of_as_one_that_is_away() -> None:
    """The question before was answered, and this one has no end yet: no problem is known."""
    hosts = served()
    hosts.head.pass_time(40.0)
    (told,) = hosts.head.told("peer-away")
    assert "does not answer" in told
    assert "the last question hangs" in told


def test_a_rank_whose_head_lost_power_gives_its_gpus_back_in_bounded_time() -> None:
    hosts = served()
    hosts.power_off(0)
    hosts.pass_time(320.0)
    assert hosts.hosts[1].run is None
    assert hosts.hosts[1].phase is Phase.WAITING
    hosts.pass_time(1200.0)
    assert hosts.starts == [1, 1]
    hosts.power_on(0)
    assert hosts.all_serve_within(200.0)


def test_a_head_whose_peer_lost_power_finds_out_by_a_request_and_waits() -> None:
    hosts = served()
    hosts.power_off(1)
    hosts.pass_time(600.0)
    assert hosts.head.run is None
    assert "gpu-1" in hosts.head.state.services["vllm"].live.blocked_by
    hosts.power_on(1)
    assert hosts.all_serve_within(400.0)


@pytest.mark.parametrize("how", ["cable", "power"])
def test_a_head_that_spins_beside_a_host_that_is_cut_off_gives_its_gpus_back(how: str) -> None:
    """NCCL and gloo wait at full speed: that is no step that may end."""
    hosts = served()
    hosts.head.spins = True
    if how == "cable":
        hosts.cut = {(0, 1), (1, 0)}
    else:
        hosts.power_off(1)
    hosts.pass_time(240.0)
    assert hosts.head.run is None
    assert "peer-lost while serving: gpu-1 cannot be reached" in hosts.head.told("failure")[0]
    hosts.pass_time(80.0)
    assert hosts.hosts[1].run is None
    assert hosts.starts == [1, 1]
    hosts.cut.clear()
    hosts.power_on(1)
    assert hosts.all_serve_within(200.0)
    causes = {host.state.services["vllm"].group.cause.sentence for host in hosts.hosts}  # type: ignore[union-attr]
    assert len(causes) == 1, "one cause is told on both"
    assert hosts.starts == [2, 2]


def test_a_head_that_spins_while_nothing_tells_of_its_peer_gives_its_gpus_back() -> None:
    """The host is there, its rank is not, and neither is its agent, which would tell of it."""
    hosts = served()
    hosts.head.spins = True
    hosts.agent_dies(1)
    hosts.hosts[1].runs.clear()
    hosts.pass_time(290.0)
    assert hosts.head.run is not None
    hosts.pass_time(130.0)
    assert hosts.head.run is None
    assert "engine-hung while serving: no token for" in hosts.head.told("failure")[0]


def test_one_step_of_minutes_ends_though_an_agent_is_away_meanwhile() -> None:
    hosts = served()
    hosts.head.spins = True
    hosts.head.step_until = hosts.now + 290.0
    hosts.agent_dies(1)
    hosts.pass_time(300.0)
    hosts.agent_returns(1)
    hosts.pass_time(60.0)
    hosts.head.step_until = hosts.now + 590.0
    hosts.pass_time(700.0)
    assert hosts.starts == [1, 1]
    assert hosts.phases == [Phase.SERVING, Phase.SERVING]


def test_a_start_beside_a_host_that_lost_power_gives_its_gpus_back_and_waits() -> None:
    """Its own patience, 900 s and more, is for a start that may still come to something."""
    hosts = Hosts(2)
    hosts.pass_time(20.0)
    assert hosts.starts == [1, 1]
    hosts.power_off(1)
    hosts.pass_time(START_ALONE_SECONDS - 10)
    assert hosts.head.run is not None
    hosts.pass_time(20.0)
    assert hosts.head.run is None
    assert "gpu-1, which was there for this start, does not answer" in hosts.head.told("follow")[-1]
    assert hosts.head.told("failure") == []
    hosts.pass_time(900.0)
    assert hosts.starts == [1, 1]
    hosts.power_on(1)
    assert hosts.all_serve_within(120.0)


def test_a_start_that_goes_on_is_not_ended_because_an_agent_is_away() -> None:
    hosts = Hosts(3, start_takes=600.0)
    hosts.pass_time(30.0)
    hosts.agent_dies(1)
    hosts.pass_time(400.0)
    hosts.agent_returns(1)
    assert hosts.all_serve_within(400.0)
    assert hosts.starts == [1, 1, 1]


@pytest.mark.parametrize("hours", [-7.0, 7.0])
def test_clocks_that_are_hours_apart_change_nothing(hours: float) -> None:
    """A word is as old as it is since it was heard; a pause is told as the time that is left."""
    hosts = Hosts(3, clocks_apart=hours * 3600.0)
    assert hosts.all_serve_within(120.0), hosts.phases
    hosts.hosts[1].dies(FailureClass.WORKER_DIED)
    hosts.pass_time(20.0)
    assert hosts.starts == [2, 2, 2]
    assert hosts.all_serve_within(120.0)
    hosts.asks(1, AskPause(SERVICE, 600.0))
    hosts.pass_time(10.0)
    hosts.hosts[2].dies(FailureClass.WORKER_DIED)
    hosts.pass_time(300.0)
    assert hosts.starts == [2, 2, 2]
    hosts.pass_time(400.0)
    assert hosts.all_serve_within(200.0)


def test_a_cable_that_is_cut_for_the_agents_alone_costs_nothing() -> None:
    hosts = served()
    hosts.cut = {(0, 1), (1, 0)}
    hosts.open_engines = True
    hosts.pass_time(1000.0)
    assert hosts.starts == [1, 1]
    assert hosts.phases == [Phase.SERVING, Phase.SERVING]


def test_one_that_cannot_hear_the_others_keeps_all_from_starting_without_a_start() -> None:
    hosts = Hosts(2)
    hosts.cut = {(1, 0)}
    hosts.pass_time(600.0)
    assert hosts.starts == [0, 0]
    assert "does not see this host" in hosts.head.state.services["vllm"].live.blocked_by
    hosts.cut.clear()
    assert hosts.all_serve_within(120.0)


def test_the_history_tells_for_whom_a_start_waits_and_not_each_second() -> None:
    hosts = Hosts(2)
    hosts.power_off(1)
    hosts.pass_time(200.0)
    hosts.power_on(1)
    hosts.configure(1, max_model_len=4096)
    hosts.pass_time(120.0)
    told = hosts.head.told("wait")
    assert "no answer in time" in told[0] or "not asked yet" in told[0]
    assert any("max_model_len is default here" in line for line in told)
    assert len(told) <= 5


def test_hosts_that_are_not_the_same_do_not_start_and_say_what_differs() -> None:
    hosts = Hosts(2)
    hosts.configure(1, max_model_len=4096)
    hosts.pass_time(60.0)
    assert hosts.starts == [0, 0]
    said = hosts.head.state.services["vllm"].live.blocked_by
    assert said == ("waits for gpu-1 to be the same: max_model_len is default here and 4096 there")


def test_new_settings_of_one_host_wait_for_those_of_the_others_while_all_serve() -> None:
    hosts = served()
    hosts.configure(1, max_model_len=4096)
    hosts.pass_time(60.0)
    hosts.agent_dies(1)
    hosts.pass_time(20.0)
    hosts.agent_returns(1)
    hosts.pass_time(60.0)
    assert hosts.starts == [1, 1]
    assert hosts.phases == [Phase.SERVING, Phase.SERVING]
    (said,) = hosts.hosts[1].told("reload")
    assert "waits for gpu-0 to be the same: max_model_len is 4096 here and default there" in said
    hosts.configure(0, max_model_len=4096)
    assert hosts.all_start_again_within(60.0)
    assert hosts.all_serve_within(120.0)
    assert hosts.starts == [2, 2]
    assert [host.starts[-1][2].max_model_len for host in hosts.hosts] == [4096, 4096]


def test_new_settings_of_one_host_that_are_taken_back_cost_nothing() -> None:
    hosts = served()
    hosts.configure(0, max_model_len=4096)
    hosts.pass_time(30.0)
    hosts.configure(0, max_model_len=None)
    hosts.pass_time(60.0)
    assert hosts.starts == [1, 1]
    assert hosts.head.state.services["vllm"].restart_wanted == ""


def test_new_settings_that_the_others_need_not_have_are_in_force_at_once() -> None:
    hosts = served()
    hosts.configure(1, host="127.0.0.2")
    assert hosts.all_start_again_within(60.0)
    assert hosts.all_serve_within(120.0)


def test_an_operator_can_restart_a_host_that_waits_for_the_others() -> None:
    hosts = served()
    hosts.configure(1, max_model_len=4096)
    hosts.pass_time(30.0)
    hosts.asks(1, AskRestart("vllm"))
    hosts.pass_time(60.0)
    assert hosts.starts == [1, 1]
    assert "max_model_len is default here" in hosts.head.state.services["vllm"].live.blocked_by


def test_what_one_rank_learns_all_use_at_the_next_start() -> None:
    hosts = Hosts(2, maximum={"max_num_seqs": 64})
    assert hosts.all_serve_within(120.0)
    hosts.hosts[1].dies(FailureClass.OOM_SAMPLER_WARMUP)
    assert hosts.all_serve_within(200.0)
    used = [host.starts[-1][2].max_num_seqs for host in hosts.hosts]
    assert used[0] == used[1] != 64
    assert "as on other hosts" in hosts.head.told("learned")[0]


def test_what_another_host_learned_goes_no_further_than_the_own_floors() -> None:
    hosts = Hosts(2, maximum={"max_num_seqs": 64})
    hosts.configure(0, recovery=Recovery(min_max_num_seqs=64))
    assert hosts.all_serve_within(120.0)
    hosts.hosts[1].dies(FailureClass.OOM_SAMPLER_WARMUP)
    hosts.pass_time(60.0)
    assert hosts.starts == [1, 1]
    assert "max_num_seqs is 64 here" in hosts.head.state.services["vllm"].live.blocked_by


def test_a_planned_restart_ends_the_heads_requests_before_the_other_ranks() -> None:
    hosts = served()
    ended: list[tuple[int, float]] = []
    for host in hosts.hosts:
        host.on_action = hosts.noting_stops(host, ended)
    hosts.asks(1, AskRestart("vllm"))
    assert hosts.all_start_again_within(60.0)
    assert [rank for rank, _ in ended] == [0, 1]
    assert hosts.all_serve_within(120.0)


def test_a_pause_on_one_host_holds_for_all() -> None:
    hosts = served()
    hosts.asks(1, AskPause("vllm", 600.0))
    hosts.pass_time(5.0)
    hosts.head.dies(FailureClass.CUDA_ILLEGAL_MEMORY_ACCESS)
    hosts.pass_time(60.0)
    assert hosts.starts == [1, 1]
    assert "on gpu-1" in hosts.head.state.services["vllm"].reason
    hosts.asks(1, AskResume("vllm"))
    assert hosts.all_serve_within(200.0)


def test_of_two_pauses_of_a_host_the_others_hear_of_the_one_that_ends_later() -> None:
    hosts = served()
    hosts.asks(1, AskPause("", 600.0))
    hosts.asks(1, AskPause("vllm", 30.0))
    hosts.pass_time(5.0)
    group = hosts.head.state.services["vllm"].group
    assert group is not None
    words = [seen.member for seen in group.live.peers.values()]
    assert [word is not None and word.paused_seconds > 500.0 for word in words] == [True]


def test_requests_are_waited_for_on_the_head_alone() -> None:
    hosts = served()
    said = hosts.asks(1, AskDrain("vllm", 60.0))
    assert "ask on the head" in said
    assert "stopped once no request runs" in hosts.asks(0, AskDrain("vllm", 60.0))


def test_all_go_back_to_the_settings_that_were_good_when_new_ones_fail_on_one_host() -> None:
    hosts = Hosts(2, recovery=Recovery(settle_seconds=30.0))
    assert hosts.all_serve_within(120.0)
    hosts.pass_time(60.0)
    for rank in (0, 1):
        hosts.configure(rank, max_model_len=8192)
    assert hosts.all_start_again_within(60.0)
    hosts.head.dies(FailureClass.MAX_MODEL_LEN_TOO_BIG)
    assert hosts.all_serve_within(200.0)
    assert [host.starts[-1][2].max_model_len for host in hosts.hosts] == [None, None]
    assert "gpu-0 has gone back to them" in hosts.hosts[1].told("rolled-back")[0]
