# SPDX-License-Identifier: Apache-2.0
"""Hosts that meet by Ray: the units of the head and of a host that joins."""

from __future__ import annotations

import os
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from agent.config.agent_toml import parse
from agent.core.command.parallel import parallel_of
from agent.core.command.picture import picture_of
from agent.core.engine.install import Engine
from agent.core.settings.service import Sandbox, Settings
from agent.core.unit.ray import join_command, ray_unit_name
from agent.core.unit.ray_unit import render_ray_unit
from agent.core.unit.text import UnitInputs, render_unit
from agent.errors import ConfigError
from tests.given.cluster.two_hosts import of_two
from tests.given.unit_reader import argv, environment, values_of

ENGINE = Engine("0.33.0", has_vllm_metadata=True, flags=None)
RAY = replace(of_two(0), ray_port=6379)
HEAD = Settings("vllm", "/srv/m", tensor_parallel_size=16, python="/opt/v/bin/python", cluster=RAY)
OTHER = replace(HEAD, cluster=replace(of_two(1), ray_port=6379))


def rendered(settings: Settings) -> str:
    return render_unit(settings, ENGINE, UnitInputs())


def test_the_heads_vllm_finds_ray_by_itself_and_is_told_of_no_hosts() -> None:
    unit = rendered(HEAD)
    words = argv(unit)
    assert "--distributed-executor-backend=ray" in words
    assert "--tensor-parallel-size=16" in words
    assert [word for word in words if "node" in word or "master" in word] == []
    assert environment(unit)["RAY_ADDRESS"] == "10.0.0.1:6379"
    assert environment(unit)["VLLM_HOST_IP"] == "10.0.0.1"
    assert values_of(unit, "Requires") == ["vllm-ray.service"]
    assert "vllm-ray.service" in values_of(unit, "After")


def test_rays_head_is_a_unit_that_lives_and_ends_with_the_service() -> None:
    assert RAY.starts_ray
    assert ray_unit_name(HEAD) == "vllm-ray.service"
    unit = render_ray_unit(HEAD, UnitInputs(nvidia_devices=True))
    assert argv(unit) == [
        *("/opt/v/bin/ray", "start", "--head", "--port=6379", "--node-ip-address=10.0.0.1"),
        *("--num-gpus=8", "--include-dashboard=false", "--temp-dir=/var/lib/vllm/ray/vllm"),
        "--block",
    ]
    assert values_of(unit, "PartOf") == ["vllm.service"]
    assert values_of(unit, "WantedBy") == values_of(unit, "Restart") == []
    # Workers are its children: they need what the engine's own processes need.
    engine = rendered(HEAD)
    for key in (
        "User",
        "LimitMEMLOCK",
        "TasksMax",
        "StateDirectory",
        "DeviceAllow",
        "ProtectSystem",
    ):
        assert values_of(unit, key) == values_of(engine, key), key
    assert environment(unit) == environment(engine)


def test_a_host_that_joins_is_ray_alone_and_counts_its_own_gpus() -> None:
    unit = rendered(OTHER)
    assert OTHER.cluster is not None
    assert not OTHER.cluster.starts_ray
    assert argv(unit)[-6:] == [
        *("/opt/v/bin/ray", "start", "--address=10.0.0.1:6379", "--node-ip-address=10.0.0.2"),
        *("--num-gpus=8", "--block"),
    ]
    assert "vllm.entrypoints" not in unit
    assert values_of(unit, "Requires") == values_of(unit, "ExecStop") == []
    assert parallel_of(picture_of(OTHER)).gpus == 8


@pytest.mark.parametrize("sandbox", Sandbox)
def test_systemd_finds_both_units_of_the_head_and_that_of_the_other_sound(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    programs = tmp_path / "venv/bin"
    programs.mkdir(parents=True)
    for name in ("python", "ray"):
        (programs / name).symlink_to("/bin/true")
    python = str(programs / "python")
    head = replace(HEAD, python=python, user="root", sandbox=sandbox)
    other = replace(OTHER, python=python, user="root", sandbox=sandbox, name="other")
    units = tmp_path / "units"
    units.mkdir()
    (units / "vllm.service").write_text(rendered(head))
    (units / "vllm-ray.service").write_text(render_ray_unit(head, UnitInputs()))
    (units / "other.service").write_text(rendered(other))
    for name in ("vllm", "vllm-ray", "other"):
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", units / f"{name}.service"],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"},
        )
        about = [line for line in done.stderr.splitlines() if str(units) in line or name in line]
        assert (done.returncode, about) == (0, [])


def test_who_joins_waits_for_the_head_and_then_is_ray(tmp_path: Path) -> None:
    (tmp_path / "ray").write_text('#!/bin/sh\necho "ray $*"\n')
    (tmp_path / "ray").chmod(0o755)
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        cluster = replace(RAY, node_rank=1, master_addr="127.0.0.1", ray_port=port.getsockname()[1])
        settings = replace(HEAD, python=f"{tmp_path}/python", cluster=cluster)
        with subprocess.Popen(
            join_command(settings), stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as joins:
            with pytest.raises(subprocess.TimeoutExpired):
                joins.wait(0.5)
            port.listen()
            said, _ = joins.communicate(timeout=60)
    assert said.startswith(f"ray start --address=127.0.0.1:{cluster.ray_port} ")
    assert joins.returncode == 0


TABLE = """
[service.vllm]
model = "/srv/m"
tensor_parallel_size = 2
{service}
[service.vllm.cluster]
nnodes = 2
node_rank = 0
master_addr = "10.0.0.1"
peers = ["10.0.0.2"]
ray_port = 6379
{cluster}
{engine}
"""


def test_the_key_is_read_and_other_hosts_must_have_the_same() -> None:
    text = TABLE.format(service="", cluster="", engine="")
    cluster = parse(text, "x").services["vllm"].settings.cluster
    assert cluster is not None
    assert (cluster.ray_port, cluster.meeting_port) == (6379, 6379)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ({"cluster": "master_port = 29501"}, "is vLLM's own meeting point"),
        ({"service": 'extra_args = ["--distributed-executor-backend", "mp"]'}, "follows from"),
        (
            {"engine": '[service.vllm.engine]\nruntime = "podman"\nimage = "x/y:1"'},
            "starts Ray from a virtual environment, not from an image",
        ),
        ({"cluster": 'data_parallel_address = "10.0.0.1"'}, "leave one of the two out"),
    ],
)
def test_what_does_not_go_with_ray_is_told(lines: dict[str, str], says: str) -> None:
    text = TABLE.format(**{"service": "", "cluster": "", "engine": "", **lines})
    with pytest.raises(ConfigError) as refused:
        parse(text, "x")
    assert says in str(refused.value)


def test_without_hosts_that_share_a_replica_ray_means_nothing() -> None:
    text = TABLE.format(service="data_parallel_size = 2", cluster="", engine="")
    for key in ("nnodes = 2\n", "node_rank = 0\n", 'master_addr = "10.0.0.1"\n'):
        text = text.replace(key, "")
    replicas = 'data_parallel_address = "10.0.0.1"\ndata_parallel_size_local = 1\nray_port'
    with pytest.raises(ConfigError, match="ray_port: means nothing without nnodes"):
        parse(text.replace("ray_port", replicas), "x")


def test_no_other_service_has_the_name_of_rays_unit() -> None:
    other = '[service.vllm-ray]\nmodel = "/srv/n"\nport = 8001\ngpus = [1]\n'
    text = TABLE.format(service="gpus = [0]", cluster="", engine="")
    with pytest.raises(ConfigError, match="the name of the unit of service"):
        parse(text + other, "x")
    assert parse(other, "x").services.keys() == {"vllm-ray"}
