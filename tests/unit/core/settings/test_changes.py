# SPDX-License-Identifier: Apache-2.0
"""What a reload says, and what it restarts."""

from agent.config.agent_toml import parse
from agent.core.settings.changes import changes, restart_needed

OLD = """
[service.vllm]
model = "org/name"
max_num_seqs = 32
"""


def said(new: str, old: str = OLD) -> tuple[str, ...]:
    return changes(parse(old, "old"), parse(new, "new"))


def restarts(line: str) -> tuple[str, ...]:
    old, new = (parse(text, "x").services["vllm"].settings for text in (OLD, f"{OLD}{line}"))
    return restart_needed(old, new)


def test_the_same_file_changes_nothing() -> None:
    assert said(OLD) == ()


def test_a_changed_setting_is_told_with_both_values_and_its_restart() -> None:
    assert said(OLD.replace("32", "64")) == (
        "service.vllm.max_num_seqs: 32 -> 64 (restarts vllm.service)",
    )


def test_a_setting_that_appears_was_unset_before() -> None:
    assert said(f'{OLD}quantization = "fp8"\ngpus = [1]\nenforce_eager = true') == (
        "service.vllm.quantization: unset -> fp8 (restarts vllm.service)",
        "service.vllm.enforce_eager: unset -> true (restarts vllm.service)",
        "service.vllm.gpus: [all] -> [1] (restarts vllm.service)",
    )


def test_expectations_and_limits_change_without_a_restart() -> None:
    new = f"{OLD}expect.on_mismatch = 'stop'\nrecovery.settle_seconds = 60"
    assert said(new) == (
        "service.vllm.expect.on_mismatch: alert -> stop",
        "service.vllm.recovery.settle_seconds: 600.0 -> 60.0",
    )


def test_services_come_and_go() -> None:
    assert said(OLD.replace("vllm", "embed")) == (
        "service.embed: added (starts embed.service)",
        "service.vllm: removed (vllm.service is no longer managed)",
    )


def test_the_address_of_the_metrics_waits_for_the_agents_own_restart() -> None:
    new = f"{OLD}[metrics]\nlisten = '127.0.0.1:9000'\nweb_config_file = '/etc/llmagent/web.yml'"
    assert said(new) == (
        "metrics.listen: 127.0.0.1:9836 -> 127.0.0.1:9000 (when llmagent restarts)",
        "metrics.web_config_file: none -> /etc/llmagent/web.yml (when llmagent restarts)",
    )


def test_a_setting_that_a_running_process_cannot_take_needs_a_restart() -> None:
    assert restarts("port = 8001\nenvironment = { A = '1' }") == ("port", "environment")


def test_a_token_file_is_read_at_the_next_start_only() -> None:
    assert restarts("hf_token_file = '/etc/llmagent/hf_token'") == ()
    assert said(f"{OLD}hf_token_file = '/etc/llmagent/hf_token'") == (
        "service.vllm.hf_token_file: unset -> /etc/llmagent/hf_token (at its next start)",
    )
