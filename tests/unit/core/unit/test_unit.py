# SPDX-License-Identifier: Apache-2.0
"""The unit that runs vLLM."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.engine.command_line import command_line
from agent.core.engine.install import Engine
from agent.core.settings.service import Sandbox, Settings
from agent.core.unit.environment import environment_of
from agent.core.unit.quoting import argument, assignment
from agent.core.unit.text import UnitInputs, override_note, render_unit
from tests.given.unit_reader import argv, environment, settings_of, values_of, words

ENGINE = Engine("0.32.0", has_vllm_metadata=True, flags=None)
HOST = UnitInputs(groups=frozenset({"video", "render"}), nvidia_devices=True)
HUB = Settings(name="vllm", model="org/name")
LOCAL = Settings(name="vllm", model="/srv/models/m")
ANY_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


def rendered(settings: Settings, host: UnitInputs = HOST) -> str:
    return render_unit(settings, ENGINE, host)


@given(ANY_TEXT)
def test_systemd_reads_back_any_argument_as_it_was(text: str) -> None:
    unit = f"[Service]\nExecStart=/bin/x {argument(text)} end\n"
    assert argv(unit) == ["/bin/x", text, "end"]


@given(ANY_TEXT)
def test_systemd_reads_back_any_variable_as_it_was(text: str) -> None:
    assert environment(f"[Service]\nEnvironment={assignment('NAME', text)}\n") == {"NAME": text}


@given(ANY_TEXT, st.lists(ANY_TEXT))
def test_the_unit_starts_exactly_the_command_line(path: str, extra: list[str]) -> None:
    settings = replace(LOCAL, model=f"/srv/{path}", extra_args=tuple(extra))
    assert argv(rendered(settings)) == list(command_line(settings, ENGINE))


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_no_text_of_the_operator_adds_a_directive(path: str, value: str, note: str) -> None:
    plain = render_unit(replace(LOCAL, environment={"A": "1"}), ENGINE, HOST)
    settings = replace(LOCAL, model=f"/srv/{path}", environment={"A": value})
    odd = render_unit(settings, ENGINE, HOST, (note,))
    names = [(section, key) for section, key, _ in settings_of(odd)]
    assert names == [(section, key) for section, key, _ in settings_of(plain)]


def test_a_nul_character_cannot_be_quoted() -> None:
    with pytest.raises(ValueError, match="NUL"):
        argument("a\0b")


def test_the_first_lines_say_who_wrote_it_and_where_to_change_things() -> None:
    head = rendered(HUB).split("\n\n")[0]
    assert all(line.startswith("# ") for line in head.splitlines())
    assert "llmagent" in head
    assert "[service.vllm]" in head
    assert "/etc/llmagent/agent.toml" in head
    assert "systemctl edit vllm.service" in head


def test_learned_values_are_told_in_the_unit_with_their_reason() -> None:
    note = override_note("gpu_memory_utilization", 0.95, 0.86, "13.2 of 15.6 GiB were free")
    assert f"# {note}\n" in render_unit(HUB, ENGINE, HOST, (note,))
    assert note == "gpu_memory_utilization: asked 0.95, running 0.86: 13.2 of 15.6 GiB were free"


def test_a_note_tells_numbers_and_switches_as_the_file_has_them() -> None:
    assert override_note("max_model_len", 1310720, 1048576, "x").startswith(
        "max_model_len: asked 1310720, running 1048576:"
    )
    assert override_note("enforce_eager", None, running=True, why="x").startswith(
        "enforce_eager: asked default, running true:"
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Type", "exec"),
        ("User", "vllm"),
        ("Restart", "always"),
        ("RestartSec", "30"),
        ("StartLimitIntervalSec", "0"),
        ("KillMode", "control-group"),
        ("TimeoutStartSec", "infinity"),
        ("LimitCORE", "0"),
        ("WantedBy", "multi-user.target"),
    ],
)
def test_a_directive_that_others_rely_on(key: str, value: str) -> None:
    assert values_of(rendered(HUB), key) == [value]


def test_systemd_waits_longer_for_a_stop_than_vllm_drains() -> None:
    (seconds,) = values_of(rendered(replace(HUB, shutdown_timeout=120)), "TimeoutStopSec")
    assert int(seconds) >= 120 + 15


def test_a_serving_vllm_is_asked_to_stop_alone_so_that_its_workers_can_drain() -> None:
    (stop,) = values_of(rendered(replace(HUB, host="0.0.0.0", port=8100)), "ExecStop")
    assert stop.startswith("-/bin/bash -c ")
    assert "/dev/tcp/127.0.0.1/8100" in stop
    assert "kill -TERM $$MAINPID" in stop


def test_what_is_left_after_a_stop_is_killed_as_it_may_swallow_a_sigterm() -> None:
    assert values_of(rendered(HUB), "KillSignal") == ["SIGKILL"]


@pytest.mark.parametrize("groups", [frozenset(), frozenset({"video"}), frozenset({"render"})])
def test_only_groups_that_exist_are_named(groups: frozenset[str]) -> None:
    unit = rendered(HUB, UnitInputs(groups=groups))
    assert values_of(unit, "SupplementaryGroups") == [" ".join(groups)] * len(groups)


def test_the_devices_are_made_ready_only_where_nvidias_driver_is() -> None:
    assert "nvidia-modprobe" in values_of(rendered(HUB), "ExecStartPre")[0]
    assert values_of(rendered(HUB, UnitInputs()), "ExecStartPre") == []


def test_the_gpus_stay_allowed_where_the_driver_is_not_loaded_yet() -> None:
    assert "char-nvidia* rw" in values_of(rendered(HUB, UnitInputs()), "DeviceAllow")


def test_the_token_is_a_credential_and_never_in_the_environment() -> None:
    unit = rendered(replace(HUB, hf_token_file="/etc/llmagent/hf_token"))
    assert values_of(unit, "LoadCredential") == ["hf_token:/etc/llmagent/hf_token"]
    assert environment(unit)["HF_TOKEN_PATH"] == "%d/hf_token"
    assert "HF_TOKEN" not in environment(unit)


def test_without_a_token_file_there_is_no_credential() -> None:
    assert "LoadCredential" not in rendered(HUB)
    assert "HF_TOKEN_PATH" not in rendered(HUB)


def test_the_gpus_are_those_of_nvidia_smi() -> None:
    chosen = environment(rendered(replace(HUB, gpus=("1", "3"))))
    assert chosen["CUDA_VISIBLE_DEVICES"] == "1,3"
    assert chosen["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert "CUDA_VISIBLE_DEVICES" not in environment(rendered(HUB))


def test_downloads_are_shared_by_services_and_compiled_code_is_not() -> None:
    one, other = environment_of(HUB), environment_of(replace(HUB, name="embed"))
    assert one["HF_HOME"] == other["HF_HOME"] == "/var/lib/vllm/huggingface"
    for name in ("VLLM_CACHE_ROOT", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"):
        assert one[name] != other[name]


def test_services_of_two_users_share_no_directory() -> None:
    unit = rendered(replace(HUB, user="alice"))
    assert values_of(unit, "StateDirectory") == ["vllm-alice"]
    assert values_of(unit, "CacheDirectory") == ["vllm-alice/vllm"]


def test_the_operators_environment_comes_last() -> None:
    settings = replace(HUB, environment={"HF_HOME": "/data/hf", "NO_COLOR": ""})
    assert environment(rendered(settings))["HF_HOME"] == "/data/hf"
    assert environment(rendered(settings))["NO_COLOR"] == ""
    assert values_of(rendered(settings), "ReadWritePaths") == ['"-/data/hf"']


def test_only_a_service_that_fetches_nothing_is_cut_off_from_the_network() -> None:
    cut_off = rendered(LOCAL)
    assert values_of(cut_off, "IPAddressDeny") == ["any"]
    assert environment(cut_off)["VLLM_HOST_IP"] == "127.0.0.1"
    for open_one in (
        HUB,
        replace(LOCAL, host="0.0.0.0"),
        replace(LOCAL, tokenizer="org/name"),
        replace(LOCAL, tensor_parallel_size=2),
        replace(LOCAL, sandbox=Sandbox.BASIC),
    ):
        assert values_of(rendered(open_one), "IPAddressDeny") == []
        assert "VLLM_HOST_IP" not in environment(rendered(open_one))


def test_a_start_on_one_gpu_waits_for_no_name_server() -> None:
    assert environment(rendered(HUB))["GLOO_SOCKET_IFNAME"] == "lo"
    several = rendered(replace(HUB, tensor_parallel_size=2))
    assert "GLOO_SOCKET_IFNAME" not in environment(several)


@pytest.mark.parametrize("path", ["/home/ann/model", "/root/m", "/tmp/m", "/var/tmp/m:1 x%"])
def test_a_model_that_the_sandbox_would_hide_is_shown_to_vllm(path: str) -> None:
    unit = rendered(replace(LOCAL, model=path))
    (shown,) = values_of(unit, "BindReadOnlyPaths")
    assert words(shown) == [f"-{path}"]
    assert values_of(unit, "ProtectHome") == ["tmpfs"]


def test_a_virtual_environment_in_a_home_is_shown_to_vllm() -> None:
    unit = rendered(LOCAL, UnitInputs(read_paths=("/home/ann/venv", "/usr")))
    assert values_of(unit, "BindReadOnlyPaths") == ['"-/home/ann/venv"']


def test_homes_are_closed_when_nothing_of_ours_is_in_them() -> None:
    assert values_of(rendered(LOCAL), "ProtectHome") == ["yes"]


def test_a_sandbox_that_is_off_still_runs_vllm_as_its_user() -> None:
    unit = rendered(replace(LOCAL, sandbox=Sandbox.OFF))
    assert values_of(unit, "User") == ["vllm"]
    assert values_of(unit, "NoNewPrivileges") == []
    assert values_of(unit, "DevicePolicy") == []


def test_a_basic_sandbox_hides_no_device_and_filters_no_system_call() -> None:
    unit = rendered(replace(LOCAL, sandbox=Sandbox.BASIC))
    assert values_of(unit, "NoNewPrivileges") == ["yes"]
    assert values_of(unit, "DevicePolicy") == []
    assert values_of(unit, "SystemCallFilter") == []


def test_several_gpus_may_share_memory_between_processes() -> None:
    unit = rendered(replace(HUB, tensor_parallel_size=2))
    assert values_of(unit, "SystemCallFilter")[-1] == "pidfd_getfd"
