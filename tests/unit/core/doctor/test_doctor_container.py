# SPDX-License-Identifier: Apache-2.0
"""The doctor on containers: real probes on a tree and on a socket, and what is made of them."""

import base64
import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from agent.core.doctor.container import (
    CdiSpec,
    DockerDaemon,
    Image,
    judge_gpu_access,
    judge_image,
    judge_runtime,
)
from agent.core.doctor.finding import Result
from agent.core.engine.runtimes.every import RUNTIMES
from agent.core.gpu.reading import Driver
from agent.core.settings.engine import EngineSettings, GpuAccess, Runtime
from agent.host.probes.containers import cdi_specs
from agent.host.probes.runtimes.every import PROBES

R = Result
NAME = "vllm/vllm-openai:v0.10.2"
PODMAN = EngineSettings(Runtime.PODMAN, NAME)
DOCKER = EngineSettings(Runtime.DOCKER, NAME)
CDI = replace(DOCKER, gpu_access=GpuAccess.CDI)
HEX = "ab" * 32
LIBRARY = "/usr/lib/x86_64-linux-gnu/libcuda.so.570.86.10"
SPEC = f"""\
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
- name: all
containerEdits:
  mounts:
  - hostPath: {LIBRARY}
    containerPath: {LIBRARY}
"""


def put(root: Path, path: str, text: str = "") -> None:
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def podman_storage(root: Path, graph_root: str = "var/lib/containers/storage") -> None:
    images = f"{graph_root}/overlay-images"
    entry = {"id": HEX, "digest": f"sha256:{HEX}", "names": [f"docker.io/{NAME}"]}
    put(root, f"{images}/images.json", json.dumps([entry]))
    key = base64.b64encode(f"sha256:{HEX}".encode()).decode()
    configuration = {"config": {"Env": ["PATH=/bin", "CUDA_VERSION=12.8.1"]}}
    put(root, f"{images}/{HEX}/={key}", json.dumps(configuration))


@pytest.mark.parametrize(
    ("name", "there"),
    [
        (NAME, True),
        (f"docker.io/{NAME}", True),
        (f"vllm/vllm-openai@sha256:{HEX}", True),
        ("vllm/vllm-openai", False),
        ("vllm/vllm-openai:v0.10", False),
        ("m/vllm-openai:v0.10.2", False),
    ],
)
def test_podmans_images_are_known_by_what_podman_would_take(
    tmp_path: Path, name: str, *, there: bool
) -> None:
    podman_storage(tmp_path)
    assert PROBES[Runtime.PODMAN].image(name, tmp_path) == Image(there, "12.8" if there else None)


def test_podmans_images_may_lie_elsewhere(tmp_path: Path) -> None:
    podman_storage(tmp_path, "data/containers")
    assert PROBES[Runtime.PODMAN].image(NAME, tmp_path).there is False
    put(tmp_path, "etc/containers/storage.conf", '[storage]\ngraphroot = "/data/containers"\n')
    assert PROBES[Runtime.PODMAN].image(NAME, tmp_path).there is True


PAGES: dict[str, dict[str, Any]] = {
    "/version": {"Version": "28.3.0"},
    f"/images/{NAME}/json": {"Config": {"Env": ["CUDA_VERSION=12.8.1"]}},
}


class Answers(BaseHTTPRequestHandler):
    """docker's daemon, as far as it is asked."""

    def do_GET(self) -> None:
        said = PAGES.get(self.path)
        self.send_response(404 if said is None else 200)
        self.end_headers()
        self.wfile.write(json.dumps(said or {"message": "No such image"}).encode())

    def address_string(self) -> str:
        return "a socket"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "run").mkdir()
    with socketserver.UnixStreamServer(str(tmp_path / "run/docker.sock"), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield tmp_path
        server.shutdown()
        thread.join()


def test_each_runtime_of_containers_is_known_to_the_core_and_to_the_host() -> None:
    containers = set(Runtime) - {Runtime.VENV}
    assert set(RUNTIMES) == set(PROBES) == containers
    for word, runtime in RUNTIMES.items():
        default = EngineSettings(runtime=word, image=NAME).access
        assert runtime.name == word
        assert default in runtime.gpu_access


def test_docker_is_asked_at_its_socket(docker: Path) -> None:
    assert PROBES[Runtime.DOCKER].daemon(docker) == DockerDaemon("28.3.0")
    assert PROBES[Runtime.DOCKER].image(NAME, docker) == Image(there=True, cuda="12.8")
    assert PROBES[Runtime.DOCKER].image("other/image:1", docker) == Image(there=False)


@pytest.mark.parametrize(
    ("said", "takes"),
    [
        ({"CDISpecDirs": ["/etc/cdi", "/var/run/cdi"]}, True),
        ({"CDISpecDirs": []}, False),
        ({"CDISpecDirs": None}, False),
        ({"Name": "older than 25.0"}, None),
    ],
)
def test_docker_tells_whether_it_takes_cdi_devices(
    docker: Path, monkeypatch: pytest.MonkeyPatch, said: object, takes: bool | None
) -> None:
    monkeypatch.setitem(PAGES, "/info", said)
    daemon = PROBES[Runtime.DOCKER].daemon(docker)
    assert daemon is not None
    assert (daemon.version, daemon.cdi) == ("28.3.0", takes)


def test_a_daemon_that_is_away_is_told_and_its_images_are_unknown(tmp_path: Path) -> None:
    daemon = PROBES[Runtime.DOCKER].daemon(tmp_path)
    assert daemon is not None
    assert "no daemon answers" in daemon.problem
    assert PROBES[Runtime.DOCKER].image(NAME, tmp_path) == Image(there=None)


def test_a_daemon_that_takes_the_question_and_never_answers_is_told(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(tmp_path / "run/docker.sock"))
        hung.listen()
        daemon = PROBES[Runtime.DOCKER].daemon(tmp_path)
        assert daemon is not None
        assert daemon.hangs
        assert "restart docker" in judge_runtime("vllm", DOCKER, "Docker 26.1", daemon).fix
        assert PROBES[Runtime.DOCKER].image(NAME, tmp_path) == Image(there=None)


def test_a_daemon_without_its_client_is_told_with_the_package_that_lacks() -> None:
    engine = EngineSettings(runtime=Runtime.DOCKER, image=NAME)
    found = judge_runtime("vllm", engine, None, DockerDaemon("26.1.5+dfsg1"))
    assert found.result is R.FAIL
    assert found.evidence == "docker's daemon 26.1.5+dfsg1 answers, /usr/bin/docker does not"
    assert found.fix == "apt install docker-cli"


def test_a_cdi_file_tells_its_devices_its_driver_and_what_is_gone(tmp_path: Path) -> None:
    put(tmp_path, "etc/cdi/nvidia.yaml", SPEC)
    put(tmp_path, "run/cdi/other.json", '{"kind": "vendor.com/net", "devices": []}')
    put(tmp_path, "dev/nvidia0")
    path = "/etc/cdi/nvidia.yaml"
    broken = CdiSpec(path, ("0", "all"), "570.86.10", LIBRARY)
    assert cdi_specs(tmp_path) == (broken,)
    put(tmp_path, LIBRARY)
    assert cdi_specs(tmp_path) == (replace(broken, gone=""),)


@pytest.mark.parametrize(
    ("engine", "version", "daemon", "result"),
    [
        (PODMAN, None, None, R.FAIL),
        (PODMAN, "podman version 3.4.4", None, R.FAIL),
        (PODMAN, "podman version 4.3.1", None, R.OK),
        (DOCKER, "Docker version 28.3.0, build x", DockerDaemon("28.3.0"), R.OK),
        (DOCKER, "Docker version 28.3.0, build x", DockerDaemon(problem="no daemon"), R.FAIL),
        (DOCKER, "Docker version 28.3.0", DockerDaemon(problem="closed", closed=True), R.UNKNOWN),
        (
            CDI,
            "Docker version 24.0.5",
            DockerDaemon("24"),
            R.FAIL,
        ),
        (CDI, "Docker version 26.1.5", DockerDaemon("26.1.5", cdi=False), R.FAIL),
        (CDI, "Docker version 26.1.5", DockerDaemon("26.1.5", cdi=True), R.OK),
        (CDI, "Docker version 26.1.5", DockerDaemon("26.1.5"), R.OK),
        (DOCKER, "Docker version 26.1.5", DockerDaemon("26.1.5", cdi=False), R.OK),
    ],
)
def test_a_runtime_is_there_new_enough_and_up(
    engine: EngineSettings, version: str | None, daemon: DockerDaemon | None, result: R
) -> None:
    found = judge_runtime("vllm", engine, version, daemon)
    assert (found.result, found.service) == (result, "vllm")
    assert bool(found.fix) is (result is not R.OK)


@pytest.mark.parametrize(
    ("engine", "there", "result"),
    [
        (PODMAN, True, R.OK),
        (PODMAN, False, R.FAIL),
        (PODMAN, None, R.UNKNOWN),
        (replace(PODMAN, pull=True), False, R.WARNING),
    ],
)
def test_an_image_that_is_away_fails_the_start_unless_it_is_pulled(
    engine: EngineSettings, there: bool | None, result: R
) -> None:
    found = judge_image("vllm", engine, Image(there))
    assert (found.result, found.service) == (result, "vllm")
    assert (f"podman pull {NAME}" in found.fix) is (there is False)


GOOD = CdiSpec("/etc/cdi/nvidia.yaml", ("0", "all"), "570.86.10")


@pytest.mark.parametrize(
    ("engine", "gpus", "hook", "specs", "result", "said"),
    [
        (PODMAN, ("all",), "", (GOOD,), R.OK, "describes"),
        (PODMAN, ("1",), "", (GOOD,), R.FAIL, "no device 1"),
        (PODMAN, ("all",), "", (), R.FAIL, "no file"),
        (PODMAN, ("all",), "", (replace(GOOD, driver="560.1"),), R.FAIL, "570.86.10 is loaded"),
        (PODMAN, ("all",), "", (replace(GOOD, gone="/lib/x"),), R.FAIL, "wants /lib/x"),
        (DOCKER, ("all",), "", (GOOD,), R.FAIL, "hook"),
        (DOCKER, ("all",), "/usr/bin/nvidia-container-runtime-hook", (), R.OK, "is there"),
        (replace(PODMAN, gpu_access=GpuAccess.NONE), ("all",), "", (), R.SKIPPED, "none"),
    ],
)
def test_the_way_of_the_gpus_into_the_container(
    engine: EngineSettings,
    gpus: tuple[str, ...],
    hook: str,
    specs: tuple[CdiSpec, ...],
    result: R,
    said: str,
) -> None:
    driver = Driver(module_version="570.86.10")
    found = judge_gpu_access("vllm", engine, gpus, hook, specs, driver)
    assert (found.result, said in found.evidence) == (result, True), found
    assert bool(found.fix) is (result is R.FAIL)
