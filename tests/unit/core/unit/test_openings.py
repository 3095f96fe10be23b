# SPDX-License-Identifier: Apache-2.0
"""The unit fits the deployment: keys, TLS, a socket, several GPUs, directories and addresses."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.engine.command_line import before_vllm
from agent.core.engine.install import Engine
from agent.core.settings.engine import EngineSettings, Runtime
from agent.core.settings.service import Sandbox, Settings
from agent.core.unit.openings import forbidden, gpus_of
from agent.core.unit.text import UnitInputs, render_unit
from tests.given.unit_reader import environment, values_of, words

ENGINE = Engine("0.32.0", has_vllm_metadata=True, flags=None)
LOCAL = Settings("vllm", "/srv/m")
IN_PODMAN = EngineSettings(Runtime.PODMAN, "vllm/vllm-openai:v0.32.0")


def rendered(settings: Settings) -> str:
    return render_unit(settings, ENGINE, UnitInputs(nvidia_devices=True))


def test_keys_reach_vllm_as_a_credential_and_no_word_of_the_unit_holds_one() -> None:
    unit = rendered(replace(LOCAL, api_key_file="/etc/llmagent/keys"))
    assert values_of(unit, "LoadCredential") == ["api_key:/etc/llmagent/keys"]
    argv = words(values_of(unit, "ExecStart")[0])
    code = before_vllm(replace(LOCAL, api_key_file="/etc/llmagent/keys"))
    assert argv[1:5] == ["-c", code, "vllm.entrypoints.cli.main", "serve"]
    assert "VLLM_API_KEY" not in environment(unit)


def test_certificate_and_private_key_are_credentials_too() -> None:
    unit = rendered(replace(LOCAL, ssl_certfile="/etc/ssl/a.pem", ssl_keyfile="/etc/ssl/a.key"))
    assert values_of(unit, "LoadCredential") == [
        "ssl_certfile:/etc/ssl/a.pem",
        "ssl_keyfile:/etc/ssl/a.key",
    ]
    argv = words(values_of(unit, "ExecStart")[0])
    assert "--ssl-certfile=/run/credentials/vllm.service/ssl_certfile" in argv
    assert "--ssl-keyfile=/run/credentials/vllm.service/ssl_keyfile" in argv


def test_the_agents_own_certificate_is_not_handed_to_vllm() -> None:
    own = {"client_certfile": "/etc/ssl/own.pem", "client_keyfile": "/etc/ssl/own.key"}
    tls = {"ssl_certfile": "/a", "ssl_keyfile": "/b", "ssl_ca_certs": "/ca"}
    unit = rendered(replace(LOCAL, **tls, **own, ssl_cert_reqs=2))  # type: ignore[arg-type]
    assert "--ssl-cert-reqs=2" in words(values_of(unit, "ExecStart")[0])
    assert "/etc/ssl/own" not in unit


def test_a_container_sees_the_credentials_at_the_same_place() -> None:
    settings = replace(LOCAL, engine=IN_PODMAN, api_key_file="/k", uds="/run/vllm/s")
    unit = rendered(settings)
    argv = words(values_of(unit, "ExecStart")[0])
    place = "/run/credentials/vllm.service"
    assert f"--mount=type=bind,source={place}/api_key,target={place}/api_key,readonly" in argv
    assert f"--env=CREDENTIALS_DIRECTORY={place}" in argv
    assert "--mount=type=bind,source=/run/vllm,target=/run/vllm,nosuid,nodev" in argv
    assert values_of(unit, "RuntimeDirectory") == ["vllm"]
    assert values_of(unit, "RuntimeDirectoryMode") == ["0750"]


def test_a_unix_socket_has_a_directory_of_the_units_and_a_stop_that_looks_for_it() -> None:
    unit = rendered(replace(LOCAL, uds="/run/vllm/api.sock"))
    assert values_of(unit, "RuntimeDirectory") == ["vllm"]
    assert values_of(unit, "RuntimeDirectoryMode") == ["0750"]
    assert values_of(unit, "UMask") == ["0077"]
    assert "[ -S /run/vllm/api.sock ]" in values_of(unit, "ExecStop")[0]
    assert "/dev/tcp" not in unit


LISTENS = """
import json, os, socket, sys
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[2])
beside = socket.socket(socket.AF_UNIX)
beside.bind(sys.argv[2] + ".own")
tcp = socket.create_server(("127.0.0.1", 0))
modes = [oct(os.stat(sys.argv[2] + end).st_mode & 0o777) for end in ("", ".own")]
print(json.dumps([modes, sys.argv[1:], os.environ.get("VLLM_API_KEY"), __name__]))
"""


@pytest.mark.parametrize("keys", [(), ("one",), ("one", "two")])
def test_the_program_before_vllms_opens_its_socket_and_no_other(
    tmp_path: Path, keys: tuple[str, ...]
) -> None:
    """Run as it stands in the unit, with a module in vLLM's place, under the unit's umask."""
    (tmp_path / "api_key").write_text("\n".join(keys))
    (tmp_path / "engine.py").write_text(LISTENS)
    place = str(tmp_path / "api.sock")
    code = before_vllm(replace(LOCAL, uds=place, api_key_file="/k" if keys else None))
    done = subprocess.run(
        [sys.executable, "-c", code, "engine", "serve", place],
        check=True,
        capture_output=True,
        text=True,
        umask=0o077,
        env={"PYTHONPATH": str(tmp_path), "CREDENTIALS_DIRECTORY": str(tmp_path)},
    )
    modes, argv, key, name = json.loads(done.stdout)
    assert modes == ["0o666", "0o700"]
    assert argv == ["serve", place, *(("--api-key", *keys) if len(keys) > 1 else ())]
    assert (key, name) == (keys[0] if keys else None, "__main__")


def test_who_asks_for_neither_keys_nor_a_socket_has_vllms_program_alone() -> None:
    assert before_vllm(LOCAL) == ""


@pytest.mark.parametrize(
    "settings",
    [
        replace(LOCAL, tensor_parallel_size=2),
        replace(LOCAL, data_parallel_size=2),
        replace(LOCAL, extra_args=("-dp", "2")),
        replace(LOCAL, environment={"VLLM_DP_SIZE": "2"}),
    ],
)
def test_several_gpus_may_use_infiniband_however_they_are_asked_for(settings: Settings) -> None:
    assert gpus_of(settings) == 2
    unit = rendered(settings)
    assert "char-infiniband* rw" in values_of(unit, "DeviceAllow")
    assert "char-gdrdrv rw" in values_of(unit, "DeviceAllow")
    assert "GLOO_SOCKET_IFNAME" not in environment(unit)


def test_one_gpu_needs_no_infiniband() -> None:
    assert "infiniband" not in rendered(LOCAL)


@pytest.mark.parametrize(
    ("directory", "directive"),
    [("/data/kv", "ReadWritePaths"), ("/home/ann/dumps", "BindPaths"), ("/tmp/w", "BindPaths")],
)
def test_directories_that_the_operator_names_are_open(directory: str, directive: str) -> None:
    unit = rendered(replace(LOCAL, writable_directories=(directory,)))
    assert [words(value) for value in values_of(unit, directive)] == [[f"-{directory}"]]


COLLECTOR = ("--otlp-traces-endpoint=http://10.1.2.3:4317",)
PEER = ("--kv-transfer-config", '{"kv_connector":"NixlConnector","kv_role":"kv_both"}')


@pytest.mark.parametrize(
    "settings",
    [
        replace(LOCAL, extra_args=COLLECTOR),
        replace(LOCAL, extra_args=PEER),
        replace(LOCAL, environment={"LMCACHE_REMOTE_URL": "redis://cache.lan:6379"}),
    ],
)
def test_what_lies_on_another_host_is_not_cut_off(settings: Settings) -> None:
    assert values_of(rendered(settings), "IPAddressDeny") == []
    narrow = rendered(replace(settings, outgoing_addresses=("10.1.2.3/32",)))
    assert values_of(narrow, "IPAddressDeny") == ["any"]
    assert values_of(narrow, "IPAddressAllow") == ["localhost 10.1.2.3/32"]


@pytest.mark.parametrize(
    "words_", [("--otlp-traces-endpoint=http://localhost:4317",), ("--seed", "1")]
)
def test_what_lies_here_opens_nothing(words_: tuple[str, ...]) -> None:
    assert values_of(rendered(replace(LOCAL, extra_args=words_)), "IPAddressDeny") == ["any"]


FORBIDDEN = {
    "a tier of the KV cache": (
        "--kv-transfer-config",
        '{"kv_connector_extra_config": {"root_dir": "/data/kv"}}',
    ),
    "a watchdog's dumps": ("--watchdog-config", '{"dump_dir": "/var/log/vllm"}'),
    "a profiler's traces": ("--profiler-config", '{"torch_profiler_dir": "/srv/traces"}'),
    "the weight daemon's socket": ("--load-format", "ipc_cache"),
    "a cache on disk, as an address": (
        "--kv-transfer-config",
        '{"kv_connector_extra_config": {"disk_path": "file:///data/lmcache/"}}',
    ),
    "downloads": ("--download-dir=/netscratch/models",),
    "weights that a plugin saves": ("--mm-encoder-fp8-scale-save-path", "/srv/scales/a.pt"),
    "tiers within tiers": (
        "--kv-transfer-config",
        '{"kv_connector_extra_config": {"secondary_tiers": [{"type": "fs", "path": "/data/t"}]}}',
    ),
}
CLOSED_VARIABLES = {
    "LMCACHE_LOCAL_DISK": "file:///data/lmcache/",
    "TRITON_CACHE_DIR": "/data/triton",
    "VLLM_DEBUG_DUMP_PATH": "/srv/dumps",
    "NCCL_DEBUG_FILE": "/var/log/nccl.%h",
    "LMCACHE_INTERNAL_API_SERVER_SOCKET_PATH_PREFIX": "/tmp/lmcache/socket",
    "UNKNOWN_THING": "/home/ann/x",
}


@pytest.mark.parametrize("name", CLOSED_VARIABLES)
def test_a_variable_that_leads_to_a_closed_place_is_named(name: str) -> None:
    (sentence,) = forbidden(replace(LOCAL, environment={name: CLOSED_VARIABLES[name]}))
    assert sentence.startswith(f"{name}: ")
    assert "writable_directories" in sentence


READ_FROM_HOMES = [
    ("--enable-lora", "--lora-modules", "sql=/home/ann/adapter", "x=/data/x"),
    ("--lora-modules", '{"name": "sql", "path": "/home/ann/adapter"}'),
    ("--speculative-config", '{"method": "eagle3", "model": "/home/ann/adapter"}'),
    ("--speculative-config.model", "/home/ann/adapter"),
    ("--tool-parser-plugin", "/home/ann/adapter"),
    ("--log-config-file", "/home/ann/adapter"),
]


@pytest.mark.parametrize("words_", READ_FROM_HOMES)
def test_what_vllm_reads_in_a_home_is_shown_to_it(words_: tuple[str, ...]) -> None:
    settings = replace(LOCAL, extra_args=words_)
    assert list(forbidden(settings)) == []
    shown = [words(value) for value in values_of(rendered(settings), "BindReadOnlyPaths")]
    assert shown == [["-/home/ann/adapter"]]
    assert values_of(rendered(settings), "ProtectHome") == ["tmpfs"]


def test_plugins_of_another_environment_are_shown_each() -> None:
    places = {"PYTHONPATH": "/opt/x:/home/ann/own:/tmp/plugin"}
    unit = rendered(replace(LOCAL, environment=places))
    shown = [words(value) for value in values_of(unit, "BindReadOnlyPaths")]
    assert shown == [["-/home/ann/own"], ["-/tmp/plugin"]]


@pytest.mark.parametrize(
    "name",
    [
        *("MODEL_PATH", "VLLM_NCCL_SO_PATH", "VLLM_TUNED_CONFIG_FOLDER", "CUDA_HOME"),
        *("VLLM_LOGGING_CONFIG_PATH", "VLLM_LORA_RESOLVER_CACHE_DIR", "VLLM_MODEL_REDIRECT_PATH"),
        *(
            "MOONCAKE_CONFIG_PATH",
            "SSL_CERT_FILE",
            "LD_LIBRARY_PATH",
            "PATH",
            "LMCACHE_CONFIG_FILE",
        ),
        *("VLLM_CUDA_COMPATIBILITY_PATH", "REQUESTS_CA_BUNDLE", "VLLM_RUST_FRONTEND_PATH"),
    ],
)
def test_no_right_to_write_is_asked_for_where_vllm_only_reads(name: str) -> None:
    assert list(forbidden(replace(LOCAL, environment={name: "/data/x"}))) == []


def test_one_gpu_that_hands_its_cache_to_another_engine_may_use_infiniband() -> None:
    assert "char-infiniband* rw" in values_of(
        rendered(replace(LOCAL, extra_args=PEER)), "DeviceAllow"
    )


def test_a_port_for_events_of_the_cache_is_reached_from_elsewhere() -> None:
    events = ("--kv-events-config", '{"publisher": "zmq", "endpoint": "tcp://*:5557"}')
    assert values_of(rendered(replace(LOCAL, extra_args=events)), "IPAddressDeny") == []


@pytest.mark.parametrize("story", FORBIDDEN)
def test_what_the_sandbox_keeps_closed_is_named(story: str) -> None:
    settings = replace(LOCAL, extra_args=FORBIDDEN[story])
    (sentence,) = forbidden(settings)
    assert "writable_directories" in sentence
    assert list(forbidden(replace(settings, sandbox=Sandbox.OFF))) == []


@pytest.mark.parametrize(
    "settings",
    [
        replace(
            LOCAL,
            extra_args=FORBIDDEN["a tier of the KV cache"],
            writable_directories=("/data",),
        ),
        replace(LOCAL, extra_args=("--tool-parser-plugin", "/opt/parsers/x.py")),
        replace(LOCAL, environment={"VLLM_TORCH_PROFILER_DIR": "/var/lib/vllm/traces"}),
    ],
)
def test_what_is_open_or_only_read_is_not_named(settings: Settings) -> None:
    assert list(forbidden(settings)) == []


@given(st.text(max_size=30), st.sampled_from(["LORA_PATH", "PYTHONPATH", "X_LIB"]))
def test_whatever_a_variable_holds_the_unit_can_be_written(text: str, name: str) -> None:
    path = "/home/" + text.replace("\0", "")
    for shown in values_of(rendered(replace(LOCAL, environment={name: path})), "BindReadOnlyPaths"):
        (one,) = words(shown)
        assert one.startswith("-/home/")
        assert ".." not in one.split("/")
        assert ":" not in one
