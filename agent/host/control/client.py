# SPDX-License-Identifier: Apache-2.0
"""A command's end of the control socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path

from agent.core.plain import plain
from agent.core.record import dataclass
from agent.errors import DaemonAwayError, HostLacksError

ANSWER_SECONDS = 15.0
LONGEST_ANSWER = 1 << 16


@dataclass(frozen=True, slots=True)
class Said:
    """What the agent answered: whether it does what was asked, and a sentence."""

    done: bool
    message: str


def ask(path: Path, request: Mapping[str, object]) -> Said:
    """Return the running agent's answer.

    Raises DaemonAwayError when there is none, HostLacksError when this user may not ask.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_SECONDS)
        try:
            connection.connect(str(path))
            connection.sendall(json.dumps(dict(request)).encode() + b"\n")
            text = _all(connection)
        except PermissionError:
            raise HostLacksError(
                "only root and members of the group llmagent may ask: use sudo, or"
                " `adduser NAME llmagent` and log in anew"
            ) from None
        except (FileNotFoundError, ConnectionRefusedError):
            raise DaemonAwayError(
                f"the daemon is not running (nobody listens on {path}): `systemctl start llmagent`"
            ) from None
        except OSError as error:
            raise DaemonAwayError(
                f"the daemon did not answer ({error}): see `systemctl status llmagent`, and"
                " `llmagent events` for whether it was done"
            ) from error
    try:
        document = json.loads(text)
        return Said(bool(document["done"]), plain(str(document["message"])))
    except (ValueError, TypeError, KeyError):
        raise DaemonAwayError(
            "the daemon hung up without an answer: see `systemctl status llmagent`"
        ) from None


def _all(connection: socket.socket) -> bytes:
    found = b""
    while len(found) <= LONGEST_ANSWER and (piece := connection.recv(4096)):
        found += piece
    return found
