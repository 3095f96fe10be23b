# SPDX-License-Identifier: Apache-2.0
"""docker, as its daemon's socket tells (Docker Engine API)."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote

from agent.core.doctor.container import DockerDaemon, Image
from agent.host.probes.runtimes.runtime import cuda_of

SOCKET = Path("/run/docker.sock")
SECONDS = 1.5


class DockerProbe:
    """Asks the daemon; what only root may ask is told as not known."""

    def daemon(self, root: Path = Path("/")) -> DockerDaemon:
        """Ask docker's daemon for its version."""
        at = _socket(root)
        try:
            status, answer = _get(at, "/version")
        except PermissionError:
            return DockerDaemon(problem=f"{at} is closed to this user", closed=True)
        except TimeoutError:
            return DockerDaemon(problem=f"the daemon at {at} hangs: it does not answer", hangs=True)
        except (OSError, HTTPException, ValueError):
            return DockerDaemon(problem=f"no daemon answers at {at}")
        if status != 200:
            return DockerDaemon(problem=f"the daemon at {at} answers {status}")
        return DockerDaemon(version=str(answer.get("Version", "")), cdi=_takes_cdi(at))

    def image(self, name: str, root: Path = Path("/")) -> Image:
        """Ask docker's daemon for an image."""
        at = _socket(root)
        try:
            status, answer = _get(at, f"/images/{quote(name, safe='/:@')}/json")
        except (OSError, HTTPException, ValueError):
            return Image(None)
        if status not in (200, 404):
            return Image(None)
        return Image(status == 200, cuda_of(answer.get("Config")))

    def images(self, root: Path = Path("/")) -> tuple[str, ...]:
        """Ask docker's daemon for the names of its images."""
        try:
            _, answer = _ask(_socket(root), "/images/json")
        except (OSError, HTTPException, ValueError):
            return ()
        rows = [row for row in answer if isinstance(row, dict)] if isinstance(answer, list) else []
        return tuple(str(name) for row in rows for name in row.get("RepoTags") or ())


def _takes_cdi(at: Path) -> bool | None:
    """Tell whether the daemon has a place of CDI's files: none where its feature is off."""
    try:
        _, answer = _get(at, "/info")
    except (OSError, HTTPException, ValueError):
        return None
    return bool(answer["CDISpecDirs"]) if "CDISpecDirs" in answer else None


def _socket(root: Path) -> Path:
    return root / SOCKET.relative_to("/")


def _get(at: Path, path: str) -> tuple[int, Mapping[str, Any]]:
    status, said = _ask(at, path)
    return status, said if isinstance(said, dict) else {}


def _ask(at: Path, path: str) -> tuple[int, Any]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(SECONDS)
        client.connect(str(at))
        connection = HTTPConnection("localhost", timeout=SECONDS)
        connection.sock = client
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        said = json.loads(answer.read())
    return answer.status, said
