# SPDX-License-Identifier: Apache-2.0
"""The command line of vLLM."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.engine.command_line import FLAGS, command_line
from agent.core.engine.install import Engine, release_of
from agent.core.settings.service import Settings

SETTINGS = Settings(name="vllm", model="org/name")
NOT_FLAGS = {
    "cluster",
    "engine",
    "name",
    "python",
    "gpus",
    "extra_args",
    "environment",
    "hf_token_file",
    "api_key_file",
    "writable_directories",
    "outgoing_addresses",
    "prefetch",
    "start_method",
    "profile",
    "client_certfile",
    "client_keyfile",
    "user",
    "sandbox",
}


def engine(version: str | None, *flags: str, has_vllm_metadata: bool = True) -> Engine:
    return Engine(version, has_vllm_metadata, frozenset(flags) if flags else None)


def line(settings: Settings, version: str | None = "0.32.0") -> tuple[str, ...]:
    return command_line(settings, engine(version))


def test_each_setting_is_a_flag_or_known_to_be_none() -> None:
    assert set(FLAGS) == {item.name for item in fields(Settings)} - NOT_FLAGS


def test_a_model_of_the_hub_keeps_its_name_where_vllm_serves_it_from_the_cache() -> None:
    assert "--served-model-name=org/name" in line(SETTINGS)
    named = line(replace(SETTINGS, served_model_name="mine"))
    assert [w for w in named if "served" in w] == ["--served-model-name=mine"]
    local = line(replace(SETTINGS, model="/srv/m"))
    assert not [w for w in local if "served" in w]


def test_vllm_is_started_by_its_serve_command() -> None:
    python, *rest = line(SETTINGS)[:5]
    assert python == "/opt/vllm/bin/python"
    assert rest == ["-m", "vllm.entrypoints.cli.main", "serve", "org/name"]


@pytest.mark.parametrize(
    "old", [engine("0.32.0", has_vllm_metadata=False), engine("0.7.3"), engine(None)]
)
def test_vllm_is_started_by_its_server_module_where_serve_cannot_work(old: Engine) -> None:
    start = command_line(SETTINGS, old)[1:4]
    assert start == ("-m", "vllm.entrypoints.openai.api_server", "--model=org/name")


def test_settings_become_flags_and_unset_ones_are_left_to_vllm() -> None:
    settings = replace(
        SETTINGS,
        quantization="fp8",
        kv_cache_dtype="fp8",
        max_model_len=65536,
        gpu_memory_utilization=0.92,
    )
    assert line(settings)[5:] == (
        "--host=127.0.0.1",
        "--port=8000",
        "--quantization=fp8",
        "--kv-cache-dtype=fp8",
        "--max-model-len=65536",
        "--gpu-memory-utilization=0.92",
        "--served-model-name=org/name",
        "--shutdown-timeout=30",
        "--disable-access-log-for-endpoints=/health,/metrics",
    )


def test_switches_are_on_off_or_left_alone() -> None:
    on = replace(SETTINGS, enable_prefix_caching=True, enforce_eager=True)
    off = replace(SETTINGS, enable_prefix_caching=False, enforce_eager=False)
    assert {"--enable-prefix-caching", "--enforce-eager"} <= set(line(on))
    assert "--no-enable-prefix-caching" in line(off)
    assert not [word for word in line(off) if "eager" in word]
    assert not [word for word in line(SETTINGS) if "prefix" in word]


def test_old_vllm_takes_the_value_of_a_switch() -> None:
    off = replace(SETTINGS, enable_chunked_prefill=False)
    assert "--enable-chunked-prefill=False" in line(off, "0.8.5.post1")
    assert "--no-enable-chunked-prefill" in line(off, "0.9.2")


@pytest.mark.parametrize(
    ("version", "flag", "has_it"),
    [
        ("0.18.1", "--shutdown-timeout=30", True),
        ("0.17.1", "--shutdown-timeout=30", False),
        ("0.16.0", "--disable-access-log-for-endpoints=/health,/metrics", True),
        ("0.15.1", "--disable-access-log-for-endpoints=/health,/metrics", False),
        ("0.9.2", "--disable-log-requests", True),
        ("0.10.2", "--disable-log-requests", False),
        (None, "--disable-log-requests", False),
        ("0.1.dev12345+g0a1b2c3", "--disable-log-requests", False),
    ],
)
def test_what_the_agent_adds_depends_on_the_version(
    version: str | None, flag: str, has_it: bool
) -> None:
    assert (flag in line(SETTINGS, version)) is has_it


def test_the_engines_own_help_is_believed_before_its_version() -> None:
    has_it = command_line(SETTINGS, engine("0.1.dev1", "--shutdown-timeout"))
    lacks_it = command_line(SETTINGS, engine("0.32.0", "--port"))
    assert "--shutdown-timeout=30" in has_it
    assert "--shutdown-timeout=30" not in lacks_it


@given(
    st.text(),
    st.none() | st.sampled_from(["0.6.3", "0.9.2", "0.17.1", "0.32.0"]),
    st.booleans(),
)
def test_what_was_asked_for_is_never_dropped(name: str, version: str | None, eager: bool) -> None:
    settings = replace(
        SETTINGS, served_model_name=name, kv_cache_memory_bytes=1, enforce_eager=eager
    )
    words = line(settings, version)
    assert f"--served-model-name={name}" in words
    assert "--kv-cache-memory-bytes=1" in words
    assert ("--enforce-eager" in words) is eager


def test_extra_arguments_come_last_so_that_they_win() -> None:
    settings = replace(SETTINGS, extra_args=("--disable-access-log-for-endpoints=/x", "-O3"))
    assert line(settings)[-2:] == ("--disable-access-log-for-endpoints=/x", "-O3")


def test_the_token_file_is_not_on_the_command_line() -> None:
    settings = replace(SETTINGS, hf_token_file="/etc/llmagent/hf_token")
    assert line(settings) == line(SETTINGS)


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("0.32.0", (0, 32, 0)),
        ("0.6.3.post1", (0, 6, 3)),
        ("0.10.1.1+381074ae.nv25.09", (0, 10, 1, 1)),
        ("v0.11.0rc2", (0, 11, 0)),
        ("0.1.dev9+gabc", ()),
        ("unknown", ()),
    ],
)
def test_the_release_of_a_version(version: str, release: tuple[int, ...]) -> None:
    assert release_of(version) == release
