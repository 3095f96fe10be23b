# SPDX-License-Identifier: Apache-2.0
"""The unit of a service whose vLLM runs in a container."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config.agent_toml import parse
from agent.core.command.line import vllm_line
from agent.core.engine.command_line import command_line
from agent.core.engine.install import Engine, image_install
from agent.core.hub.unit import render_fetch_unit
from agent.core.settings.engine import EngineSettings, GpuAccess, Runtime, version_in
from agent.core.settings.service import Sandbox, Settings
from agent.core.unit.text import UnitInputs, render_unit
from agent.errors import ConfigError
from agent.host.nvidia.processes import process_of
from tests.given.unit_reader import argv, settings_of, values_of, words

IMAGE = "vllm/vllm-openai:v0.10.2"
ENGINE = Engine("0.10.2", has_vllm_metadata=False, flags=None)
HOST = UnitInputs(nvidia_devices=True)
ANY_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
RUNTIMES = pytest.mark.parametrize("runtime", [Runtime.PODMAN, Runtime.DOCKER])


def service(runtime: Runtime, **changes: object) -> Settings:
    engine = EngineSettings(runtime=runtime, image=IMAGE)
    return replace(Settings("vllm", "org/name", engine=engine), **changes)  # type: ignore[arg-type]


def rendered(settings: Settings) -> str:
    return render_unit(settings, ENGINE, HOST)


def options(settings: Settings) -> list[str]:
    """Return what stands before the image, from the client on."""
    started = client(rendered(settings))
    return started[: started.index(IMAGE)]


def client(text: str) -> list[str]:
    """Return the argv of the client, without the shell before it.

    docker's keeps a client there, podman's keeps it in the unit's control group.
    """
    started = argv(text)
    if started[:2] == ["/bin/bash", "-c"]:
        assert started[2].startswith('"$@"; status=$?; ') or started[2].endswith('; exec "$@"')
        return started[4:]
    return started


@given(st.sampled_from([Runtime.PODMAN, Runtime.DOCKER]), ANY_TEXT, ANY_TEXT, st.lists(ANY_TEXT))
def test_vllm_in_the_image_gets_the_same_words_whatever_the_strings(
    runtime: Runtime, path: str, value: str, extra: list[str]
) -> None:
    settings = service(
        runtime, model=f"/srv/{path}", environment={"A": value}, extra_args=tuple(extra)
    )
    started = client(rendered(settings))
    own = command_line(settings, ENGINE)[1:]
    at = len(started) - len(own)
    assert tuple(started[at:]) == own
    assert started[at - 1] == IMAGE
    assert started[:2] == [f"/usr/bin/{runtime}", "run"]
    assert f"--env=A={value}" in started


@given(st.sampled_from([Runtime.PODMAN, Runtime.DOCKER]), ANY_TEXT, ANY_TEXT)
def test_no_text_of_the_operator_adds_a_directive(runtime: Runtime, path: str, value: str) -> None:
    plain = rendered(service(runtime, model="/srv/m", environment={"A": "1"}))
    odd = rendered(service(runtime, model=f"/srv/{path}", environment={"A": value}))
    names = [(section, key) for section, key, _ in settings_of(odd)]
    assert names == [(section, key) for section, key, _ in settings_of(plain)]


def test_a_docker_engine_may_outlive_its_client_and_its_daemon() -> None:
    text = rendered(service(Runtime.DOCKER))
    assert argv(text)[:2] == ["/bin/bash", "-c"]
    assert "docker attach --no-stdin" in argv(text)[2]
    assert "--rm" not in options(service(Runtime.DOCKER)), (
        "its daemon would end it at its own start"
    )
    assert "--rm" in options(service(Runtime.PODMAN))
    read = vllm_line(argv(text))
    assert read.image == IMAGE
    assert read.words == command_line(service(Runtime.DOCKER), ENGINE)[3:]
    fetch = render_fetch_unit(
        service(Runtime.DOCKER), ENGINE, "/usr/lib/llmagent", (), repair=False
    )
    assert "--rm" in argv(fetch)


@RUNTIMES
def test_each_option_is_one_word_that_begins_with_dashes(runtime: Runtime) -> None:
    settings = service(runtime, hf_token_file="/etc/llmagent/hf_token", gpus=("0", "1"))
    assert all(word.startswith("--") for word in options(settings)[2:])


@RUNTIMES
def test_the_token_is_a_credential_that_only_the_container_reads(runtime: Runtime) -> None:
    text = rendered(service(runtime, hf_token_file="/etc/llmagent/hf_token"))
    inside = "/run/credentials/vllm.service/hf_token"
    assert values_of(text, "LoadCredential") == ["hf_token:/etc/llmagent/hf_token"]
    assert f"--env=HF_TOKEN_PATH={inside}" in argv(text)
    assert f"--mount=type=bind,source={inside},target={inside},readonly" in argv(text)
    assert not any("/etc/llmagent/hf_token" in word for word in argv(text))


@RUNTIMES
def test_nvidias_advice_on_shared_memory_and_limits_is_followed(runtime: Runtime) -> None:
    assert "--ipc=host" in options(service(runtime, sandbox=Sandbox.BASIC))
    given_ = options(service(runtime))
    assert {"--ipc=private", "--shm-size=16g"} <= set(given_)
    assert "--ipc=host" not in given_
    assert "--ulimit=memlock=-1:-1" in given_
    assert "--ulimit=stack=67108864:67108864" in given_


@RUNTIMES
def test_models_are_seen_read_only_and_caches_can_be_written(runtime: Runtime) -> None:
    home = {"HF_HOME": "/opt/hf"}
    given_ = options(service(runtime, model="/srv/m", environment=home))
    assert "--mount=type=bind,source=/srv/m,target=/srv/m,readonly" in given_
    closed = ",nosuid,nodev" if runtime is Runtime.PODMAN else ""
    assert f"--mount=type=bind,source=/opt/hf,target=/opt/hf{closed}" in given_
    assert "--env=HF_HOME=/opt/hf" in given_


@pytest.mark.parametrize(
    ("runtime", "gpus", "words_"),
    [
        (Runtime.PODMAN, ("all",), ["--device=nvidia.com/gpu=all"]),
        (
            Runtime.PODMAN,
            ("0", "GPU-a"),
            ["--device=nvidia.com/gpu=0", "--device=nvidia.com/gpu=GPU-a"],
        ),
        (Runtime.DOCKER, ("all",), ["--gpus=all"]),
        (Runtime.DOCKER, ("0", "GPU-a"), ['--gpus="device=0,GPU-a"']),
    ],
)
def test_the_container_gets_the_gpus_of_the_service(
    runtime: Runtime, gpus: tuple[str, ...], words_: list[str]
) -> None:
    given_ = options(service(runtime, gpus=gpus))
    assert [word for word in given_ if "gpu" in word] == words_
    assert not any("CUDA_VISIBLE_DEVICES" in word for word in given_)


@RUNTIMES
def test_a_model_is_fetched_by_the_images_python_into_the_same_cache_without_a_gpu(
    runtime: Runtime,
) -> None:
    settings = service(runtime, hf_token_file="/etc/llmagent/hf_token", revision="v2")
    text = render_fetch_unit(settings, ENGINE, "/usr/lib/llmagent", (), repair=False)
    started = argv(text)
    at = started.index(IMAGE)
    given_ = started[:at]
    assert started[at - 1 : at + 3] == ["--entrypoint=python3", IMAGE, "-m", "agent.fetch"]
    assert {"--model=org/name", "--revision=v2"} <= set(started[at:])
    served = options(settings)
    caches = {word for word in served if word.startswith("--mount=") and "/var/" in word}
    assert caches <= set(given_)
    assert "--mount=type=bind,source=/usr/lib/llmagent,target=/usr/lib/llmagent,readonly" in given_
    assert "--env=PYTHONPATH=/usr/lib/llmagent" in given_
    assert "--env=HF_TOKEN_PATH=/run/credentials/vllm-fetch.service/hf_token" in given_
    assert not [word for word in given_ if "gpu" in word or "HF_HUB_OFFLINE" in word]
    assert "--name=vllm-fetch" in given_
    assert values_of(text, "User") == ["vllm"]
    (remove,) = values_of(text, "ExecStopPost")
    assert "--filter=label=llmagent.service=vllm-fetch)" in remove


@RUNTIMES
def test_a_model_that_is_complete_is_served_with_the_hub_away(runtime: Runtime) -> None:
    text = render_unit(service(runtime), ENGINE, UnitInputs(needs_no_hub=True))
    assert "--env=HF_HUB_OFFLINE" in argv(text)
    assert "HF_HUB_OFFLINE=1" in values_of(text, "Environment")
    assert "HF_HUB_OFFLINE=1" not in rendered(service(runtime))
    asked = service(runtime, environment={"HF_HUB_OFFLINE": "0"})
    assert [word for word in argv(rendered(asked)) if "OFFLINE" in word] == [
        "--env=HF_HUB_OFFLINE=0"
    ]


def test_an_image_without_gpus_can_be_asked_for() -> None:
    engine = EngineSettings(Runtime.PODMAN, IMAGE, gpu_access=GpuAccess.NONE)
    assert not [word for word in options(service(Runtime.PODMAN, engine=engine)) if "gpu" in word]


def test_podmans_engine_stays_in_the_units_own_group_and_journal() -> None:
    text = rendered(service(Runtime.PODMAN))
    assert "--cgroups=split" in argv(text)
    assert "--log-driver=passthrough" in argv(text)
    assert values_of(text, "Delegate") == ["yes"]


@RUNTIMES
def test_a_stop_lets_requests_end_and_what_is_left_is_removed(runtime: Runtime) -> None:
    text = rendered(service(runtime, shutdown_timeout=120))
    (stop,) = values_of(text, "ExecStop")
    assert f"/usr/bin/{runtime} stop --time=127 vllm" in stop
    (seconds,) = values_of(text, "TimeoutStopSec")
    assert int(seconds) > 127
    (remove,) = values_of(text, "ExecStopPost")
    assert "--filter=label=llmagent.service=vllm" in remove


def test_a_stop_beside_a_docker_that_hangs_fits_the_units_limit() -> None:
    text = rendered(service(Runtime.DOCKER, shutdown_timeout=120))
    (stop,) = values_of(text, "ExecStop")
    (seconds,) = values_of(text, "TimeoutStopSec")
    script = words(stop)[-1].replace("$$", "$")
    asked, waited = (
        int(re.findall(pattern, script)[0]) for pattern in (r"timeout (\d+) ", r"i < (\d+);")
    )
    assert asked + waited < int(seconds)
    assert "kill -TERM $pid" in script
    assert "kill -TERM" not in values_of(rendered(service(Runtime.PODMAN)), "ExecStop")[0]


@RUNTIMES
def test_only_our_container_makes_room_and_a_stranger_is_named(runtime: Runtime) -> None:
    clear = values_of(rendered(service(runtime)), "ExecStartPre")[-1]
    script = words(clear)[-1]
    assert "rm --force --volumes $$id" in script
    assert "container inspect vllm" in script
    assert "exit 1" in script


@pytest.mark.parametrize(
    ("sandbox", "caps"),
    [(Sandbox.STRICT, ["--cap-drop=ALL", "--cap-add=DAC_OVERRIDE"]), (Sandbox.OFF, [])],
)
def test_the_sandbox_decides_about_capabilities(sandbox: Sandbox, caps: list[str]) -> None:
    given_ = options(service(Runtime.DOCKER, sandbox=sandbox))
    assert [word for word in given_ if word.startswith("--cap-")] == caps


def test_what_starts_the_interpreter_stands_before_it() -> None:
    engine = EngineSettings(Runtime.DOCKER, IMAGE, entrypoint=("/entry.sh", "python3"))
    started = argv(rendered(service(Runtime.DOCKER, engine=engine)))
    at = started.index(IMAGE)
    assert started[at - 1 : at + 3] == ["--entrypoint=/entry.sh", IMAGE, "python3", "-m"]


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("vllm/vllm-openai:v0.10.2", "0.10.2"),
        ("registry.example:5000/vllm-openai:v0.11.0-x86_64", "0.11.0"),
        ("nvcr.io/nvidia/vllm:25.09-py3", "0.10.1.1"),
        ("nvcr.io/nvidia/vllm:26.01-py3", "0.11.1"),
        ("nvcr.io/nvidia/vllm:26.02-py3", None),
        ("vllm/vllm-openai:latest", None),
        ("registry.example:5000/vllm-openai", None),
        ("vllm/vllm-openai@sha256:abc", None),
    ],
)
def test_the_tag_tells_the_version_or_nothing_does(image: str, version: str | None) -> None:
    assert version_in(image) == version
    assert image_install(EngineSettings(Runtime.PODMAN, image)).version == version


def test_a_table_is_read() -> None:
    config = parse(
        '[service.vllm]\nmodel = "org/name"\n[service.vllm.engine]\nruntime = "podman"\n'
        f'image = "{IMAGE}"\nmounts = ["/data"]\nextra_options = ["--shm-size=16g"]\n',
        "agent.toml",
    )
    assert config.services["vllm"].settings.engine == EngineSettings(
        Runtime.PODMAN, IMAGE, mounts=("/data",), extra_options=("--shm-size=16g",)
    )


@pytest.mark.parametrize(
    ("engine", "above", "said"),
    [
        ('runtime = "podman"', "", "service.vllm.engine.image: missing"),
        (f'image = "{IMAGE}"', "", "is for containers"),
        (f'runtime = "docker"\nimage = "{IMAGE}"', 'python = "/opt/p"', "means nothing"),
        (f'runtime = "docker"\nimage = "{IMAGE}"\nextra_options = ["--name=x"]', "", "--name is"),
        (f'runtime = "docker"\nimage = "{IMAGE}"\nextra_options = ["-it"]', "", "one word"),
        (
            f'runtime = "docker"\nimage = "{IMAGE}"\nextra_options = ["--env=HF_TOKEN=x"]',
            "",
            "holds a secret",
        ),
        (f'runtime = "podman"\nimage = "{IMAGE}"\ngpu_access = "gpus"', "", "nvidia-ctk"),
        ('runtime = "docker"\nimage = "--privileged"', "", "is not an image"),
    ],
)
def test_a_mistake_is_told_where_it_is(engine: str, above: str, said: str) -> None:
    text = f'[service.vllm]\nmodel = "org/name"\n{above}\n[service.vllm.engine]\n{engine}\n'
    with pytest.raises(ConfigError, match=said):
        parse(text, "agent.toml")


def test_a_process_in_dockers_own_group_is_no_stranger(tmp_path: Path) -> None:
    cid = "ab" * 32
    for pid, group in ((7, f"docker-{cid}.scope"), (8, f"docker-{'cd' * 32}.scope")):
        (tmp_path / f"proc/{pid}").mkdir(parents=True)
        (tmp_path / f"proc/{pid}/comm").write_text("VLLM::EngineCor\n")
        (tmp_path / f"proc/{pid}/cgroup").write_text(f"0::/system.slice/{group}\n")
    (tmp_path / "run/vllm").mkdir(parents=True)
    (tmp_path / "run/vllm/cid").write_text(cid)
    seen = [process_of(pid, 1, tmp_path / "proc", tmp_path / "run").unit for pid in (7, 8)]
    assert seen == ["vllm.service", f"docker-{'cd' * 32}.scope"]


@RUNTIMES
def test_the_unit_says_what_strict_does_not_do_in_a_container(runtime: Runtime) -> None:
    assert "Not confined: the engine is root's uid" in rendered(service(runtime))
    assert "Not confined" not in rendered(service(runtime, sandbox=Sandbox.BASIC))
