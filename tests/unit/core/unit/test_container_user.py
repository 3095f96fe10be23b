# SPDX-License-Identifier: Apache-2.0
"""Whom an engine in a container runs as, and what is told of it."""

from dataclasses import replace

import pytest

from agent.core.engine.install import Engine
from agent.core.hub.unit import render_fetch_unit
from agent.core.settings.engine import EngineSettings, Runtime
from agent.core.settings.service import Sandbox, Settings
from agent.core.unit.container_user import ContainerUser, left_open, wants_own_user, why_root
from agent.core.unit.text import UnitInputs, render_unit
from tests.given.unit_reader import argv, values_of, words

NEW = "vllm/vllm-openai:v0.32.0"
ENGINE = Engine("0.32.0", has_vllm_metadata=False, flags=None)
USER = ContainerUser("vllm", 990, 985)
RUNTIMES = pytest.mark.parametrize("runtime", [Runtime.PODMAN, Runtime.DOCKER])
IN_PODMAN = EngineSettings(Runtime.PODMAN, NEW)


def service(runtime: Runtime = Runtime.PODMAN, image: str = NEW, **changes: object) -> Settings:
    engine = EngineSettings(runtime, image, **changes)  # type: ignore[arg-type]
    return Settings("vllm", "org/name", engine=engine)


def rendered(settings: Settings, user: ContainerUser | None) -> str:
    return render_unit(settings, ENGINE, UnitInputs(container_user=user))


@pytest.mark.parametrize(
    "image",
    [
        NEW,
        "vllm-openai:v0.23.0",
        "registry.example:5000/mirror/vllm-openai:v0.40.0",
        "docker.io/vllm/vllm-openai:v0.33.0-cu130",
    ],
)
def test_an_image_that_anybody_can_run_is_run_as_a_user(image: str) -> None:
    assert why_root(service(image=image)) == ""
    assert wants_own_user(service(image=image))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (service(image="vllm/vllm-openai:v0.10.2"), "before 0.23"),
        (service(image="vllm/vllm-openai:v0.22.1"), "before 0.23"),
        (service(image="vllm/vllm-openai:latest"), "not known"),
        (service(image="vllm/vllm-openai@sha256:abc"), "not known"),
        (service(image="nvcr.io/nvidia/vllm:26.10-py3"), "vllm-openai"),
        (service(image="corp/with-vllm-openai-inside:v0.32.0"), "vllm-openai"),
        (service(extra_options=("--user=0:0",)), "--user=0:0"),
        (service(extra_options=("--userns=auto",)), "--userns=auto"),
        (service(extra_options=("--cap-add=SYS_NICE",)), "--cap-add"),
        (service(extra_options=("--privileged",)), "--privileged"),
        (service(extra_options=("--volume=/data:/data",)), "--volume"),
        (replace(service(), model="/root/models/x"), "below /root"),
        (replace(service(), environment={"HF_HOME": "/root/.cache/hf"}), "below /root"),
    ],
)
def test_what_may_need_root_keeps_it_and_is_named(settings: Settings, said: str) -> None:
    assert said in why_root(settings)
    assert not wants_own_user(settings)
    assert why_root(settings) in left_open(settings, why_root(settings)) or "--user" in said


def test_an_operator_who_says_the_release_of_a_digest_is_believed() -> None:
    assert why_root(service(image="x/vllm-openai@sha256:abc", vllm_version="0.32.0")) == ""


def test_without_strict_or_without_a_container_nobody_is_given_a_user() -> None:
    for sandbox in (Sandbox.BASIC, Sandbox.OFF):
        assert not wants_own_user(replace(service(), sandbox=sandbox))
    assert not wants_own_user(Settings("vllm", "/m"))


@RUNTIMES
def test_the_user_has_no_capability_and_root_has_one(runtime: Runtime) -> None:
    of_user = argv(rendered(service(runtime), USER))
    assert "--user=990:985" in of_user
    assert {"--env=USER=vllm", "--env=LOGNAME=vllm"} <= set(of_user)
    assert [word for word in of_user if word.startswith("--cap-")] == ["--cap-drop=ALL"]
    of_root = argv(rendered(service(runtime), None))
    assert not [word for word in of_root if word.startswith("--user=")]
    assert "--cap-add=DAC_OVERRIDE" in of_root


@RUNTIMES
@pytest.mark.parametrize("user", [USER, None])
def test_directories_are_the_users_and_the_client_is_root(
    runtime: Runtime, user: ContainerUser | None
) -> None:
    """Whoever the engine is: two services share a directory, and systemd makes it one user's."""
    fetch = render_fetch_unit(
        service(runtime), ENGINE, "/usr/lib/llmagent", (), repair=False, container_user=user
    )
    for unit in (rendered(service(runtime), user), fetch):
        assert values_of(unit, "User") == ["vllm"]
        assert "HOME=/root" in values_of(unit, "Environment")
        commands = [
            command
            for key in ("ExecStartPre", "ExecStart", "ExecStop", "ExecStopPost")
            for command in values_of(unit, key)
        ]
        assert all("+" in words(command)[0].partition("/")[0] for command in commands)
        assert ("--user=990:985" in argv(unit)) is (user is not None)
        handed = [command for command in commands if "chown --recursive" in command]
        assert len(handed) == (user is not None)


@RUNTIMES
def test_the_id_that_root_believes_is_in_a_directory_of_root(runtime: Runtime) -> None:
    unit = rendered(service(runtime), USER)
    assert values_of(unit, "RuntimeDirectory") == []
    clear = values_of(unit, "ExecStartPre")[-1]
    assert "mkdir -p /run/llmagent-containers/vllm; " in clear
    (end,) = values_of(unit, "ExecStopPost")
    assert "rm -rf /run/llmagent-containers/vllm" in end


def test_what_strict_does_not_do_in_a_container_is_said() -> None:
    settings = service()
    told = left_open(settings, "")
    assert "user vllm and no capability" in told
    assert "root's uid" not in told
    assert "host's whole network" in told
    assert "podman" in told
    told = left_open(settings, "/data/hf is closed to the user vllm")
    assert "root's uid, with DAC_OVERRIDE" in told
    assert "/data/hf is closed" in told
    other = replace(IN_PODMAN, extra_options=("--user=990:990",))
    told = left_open(Settings("vllm", "/m", engine=other), "--user=990:990 says whom it runs as")
    assert "--user=990:990" in told
    assert "root's uid" not in told


def test_without_a_container_or_without_strict_there_is_nothing_left_open_to_tell() -> None:
    assert left_open(Settings("vllm", "/m"), "") == ""
    for sandbox in (Sandbox.BASIC, Sandbox.OFF):
        assert left_open(Settings("vllm", "/m", engine=IN_PODMAN, sandbox=sandbox), "") == ""
