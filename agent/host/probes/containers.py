# SPDX-License-Identifier: Apache-2.0
"""podman, docker and NVIDIA's toolkit, as files and docker's socket show them; nothing is started.

podman itself is not asked: it takes locks in its storage, which the agent may not write.
"""

from __future__ import annotations

import base64
import json
import shutil
import socket
import tomllib
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from agent.core.doctor.container import CdiSpec, DockerDaemon, Image
from agent.core.settings.engine import Runtime

DOCKER_SOCKET = Path("/run/docker.sock")
SECONDS = 1.5
STORAGE_CONF = Path("/etc/containers/storage.conf")
GRAPH_ROOT = "/var/lib/containers/storage"
CDI_PLACES = (Path("/etc/cdi"), Path("/run/cdi"))
CDI_KIND = "nvidia.com/gpu"
HOOKS = ("nvidia-container-runtime-hook", "nvidia-container-toolkit")
CUDA = "CUDA_VERSION="
"""In the environment of NVIDIA's images and of all that are made from them."""


def docker_daemon(at: Path = DOCKER_SOCKET) -> DockerDaemon:
    """Ask docker's daemon for its version."""
    try:
        status, answer = _get(at, "/version")
    except PermissionError:
        return DockerDaemon(problem=f"{at} is closed to this user", closed=True)
    except (OSError, HTTPException, ValueError):
        return DockerDaemon(problem=f"no daemon answers at {at}")
    if status != 200:
        return DockerDaemon(problem=f"the daemon at {at} answers {status}")
    return DockerDaemon(version=str(answer.get("Version", "")))


def image(runtime: Runtime, name: str, root: Path = Path("/")) -> Image:
    """Look for an image that root's podman or docker has; raises OSError where it is closed."""
    if runtime is Runtime.DOCKER:
        return _docker_image(name, root / DOCKER_SOCKET.relative_to("/"))
    return _podman_image(name, root)


def _docker_image(name: str, at: Path) -> Image:
    try:
        status, answer = _get(at, f"/images/{quote(name, safe='/:@')}/json")
    except (OSError, HTTPException, ValueError):
        return Image(None)
    if status not in (200, 404):
        return Image(None)
    return Image(status == 200, _cuda(answer.get("Config")))


def _get(at: Path, path: str) -> tuple[int, Mapping[str, Any]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(SECONDS)
        client.connect(str(at))
        connection = HTTPConnection("localhost", timeout=SECONDS)
        connection.sock = client
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        said = json.loads(answer.read())
    return answer.status, said if isinstance(said, dict) else {}


def _podman_image(name: str, root: Path) -> Image:
    for index in _graph_root(root).glob("*-images/images.json"):
        for found in json.loads(index.read_text()):
            if _is_named(found, name):
                return Image(there=True, cuda=_cuda_of(index.parent, str(found["id"])))
    return Image(there=False)


def _graph_root(root: Path) -> Path:
    file = root / STORAGE_CONF.relative_to("/")
    storage: Any = {}
    if file.is_file():
        storage = tomllib.loads(file.read_text(errors="replace")).get("storage", {})
    place = root / str(storage.get("graphroot") or GRAPH_ROOT).lstrip("/")
    # A directory that is closed would look like one without images.
    if place.exists():
        next(place.iterdir(), None)
    return place


def _is_named(found: Mapping[str, Any], name: str) -> bool:
    """Tell whether an entry of images.json is what podman would take for `name`."""
    wanted, _, digest = name.partition("@")
    if digest:
        return found.get("digest") == digest
    if ":" not in wanted.rpartition("/")[2]:
        wanted += ":latest"
    names = found.get("names") or ()
    return any(known == wanted or str(known).endswith(f"/{wanted}") for known in names)


def _cuda_of(images: Path, image_id: str) -> str | None:
    """Read an image's configuration: containers/storage names the file after its digest."""
    key = base64.b64encode(f"sha256:{image_id}".encode()).decode()
    try:
        return _cuda(json.loads((images / image_id / f"={key}").read_text()).get("config"))
    except (OSError, ValueError):
        return None


def _cuda(configuration: object) -> str | None:
    environment = configuration.get("Env") if isinstance(configuration, dict) else None
    for item in environment or ():
        if str(item).startswith(CUDA):
            return ".".join(str(item).removeprefix(CUDA).split(".")[:2])
    return None


def cdi_specs(root: Path = Path("/")) -> tuple[CdiSpec, ...]:
    """Return what describes NVIDIA's GPUs to container engines."""
    return tuple(_cdi_specs(root))


def _cdi_specs(root: Path) -> Iterator[CdiSpec]:
    for place in CDI_PLACES:
        for file in sorted((root / place.relative_to("/")).glob("*.*")):
            try:
                spec = yaml.safe_load(file.read_text(errors="replace"))
            except yaml.YAMLError:
                continue
            if isinstance(spec, dict) and spec.get("kind") == CDI_KIND:
                yield _cdi_spec(f"{place}/{file.name}", spec, root)


def _cdi_spec(path: str, spec: Mapping[str, Any], root: Path) -> CdiSpec:
    devices = [device for device in spec.get("devices") or () if isinstance(device, dict)]
    edits = [spec.get("containerEdits") or {}, *(d.get("containerEdits") or {} for d in devices)]
    mounts = [m.get("hostPath") for edit in edits for m in edit.get("mounts") or ()]
    nodes = [n.get("hostPath") or n.get("path") for e in edits for n in e.get("deviceNodes") or ()]
    wanted = [str(file) for file in (*mounts, *nodes) if file]
    gone = (file for file in wanted if not (root / file.lstrip("/")).exists())
    libraries = (file.rpartition("libcuda.so.")[2] for file in wanted if "libcuda.so." in file)
    return CdiSpec(
        path=path,
        devices=tuple(str(device.get("name")) for device in devices),
        driver=next((version for version in libraries if "." in version), ""),
        gone=next(gone, ""),
    )


def gpu_hook() -> str:
    """Return the program by which docker's --gpus works, "" for none."""
    return next((found for name in HOOKS if (found := shutil.which(name))), "")
