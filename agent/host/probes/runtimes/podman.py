# SPDX-License-Identifier: Apache-2.0
"""podman, as the files of its storage show it (containers-storage.conf(5)).

podman itself is not asked: it takes locks in its storage, which the agent may not write.
"""

from __future__ import annotations

import base64
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.core.doctor.container import Image
from agent.host.probes.runtimes.runtime import cuda_of

STORAGE_CONF = Path("/etc/containers/storage.conf")
GRAPH_ROOT = "/var/lib/containers/storage"


class PodmanProbe:
    """Reads root's storage."""

    def daemon(self, root: Path = Path("/")) -> None:
        """Return None: podman has no daemon."""

    def image(self, name: str, root: Path = Path("/")) -> Image:
        """Look for an image in root's storage; raises OSError where it is closed."""
        for index in _graph_root(root).glob("*-images/images.json"):
            for found in json.loads(index.read_text()):
                if _is_named(found, name):
                    return Image(there=True, cuda=_cuda_of(index.parent, str(found["id"])))
        return Image(there=False)

    def images(self, root: Path = Path("/")) -> tuple[str, ...]:
        """Return the names in root's storage."""
        try:
            found = [
                row
                for index in _graph_root(root).glob("*-images/images.json")
                for row in json.loads(index.read_text())
            ]
        except (OSError, ValueError):
            return ()
        return tuple(str(name) for row in found for name in row.get("names") or ())


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
        return cuda_of(json.loads((images / image_id / f"={key}").read_text()).get("config"))
    except (OSError, ValueError):
        return None
