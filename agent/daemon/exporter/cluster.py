# SPDX-License-Identifier: Apache-2.0
"""/cluster.json: what this host tells the other hosts of its groups of its own ranks."""

from __future__ import annotations

import json
import socket

from agent.core.cluster.member import FORMAT
from agent.core.plain import plain_values
from agent.core.view.snapshot import Snapshot


def cluster_document(snapshot: Snapshot) -> bytes:
    """Return {"format", "version", "at_seconds", "host", "services": {NAME: its rank's word}}."""
    words = {s.name: s.cluster.own for s in snapshot.services if s.cluster is not None}
    document = {
        "format": FORMAT,
        "version": snapshot.version,
        "at_seconds": snapshot.at_seconds,
        "host": socket.gethostname(),
        "services": words,
    }
    return json.dumps(plain_values(document), separators=(",", ":")).encode()
