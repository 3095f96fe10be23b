# SPDX-License-Identifier: Apache-2.0
"""One model over several nodes: who is asked to be where, and the head's end of the group.

As with vLLM's own engines a group is made once. A node that comes later, or again, is not taken in:
it waits, and the head waits at its start until all are there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from engine import words

TOLD_EVERY_SECONDS: Final = 10.0
STEP_SECONDS: Final = float(os.environ.get("VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS", "300"))
"""After so long without a word of another rank a split model's engine gives up."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a command line says of the group; the head has rank 0, `others` ranks are elsewhere.

    With hybrid balancing each node takes requests, and has one process in the group for its ranks.
    """

    kind: Literal["mp", "dp", "hybrid"]
    rank: int
    others: int
    host: str
    port: int

    @staticmethod
    def of(arguments: argparse.Namespace) -> Place | None:
        """Returns the place, None where all is on one node."""
        nodes, ranks = int(arguments.nnodes or 1), int(arguments.data_parallel_size or 1)
        if nodes > 1:
            host, port = arguments.master_addr or "127.0.0.1", int(arguments.master_port or 29501)
            return Place("mp", int(arguments.node_rank or 0), nodes - 1, host, port)
        local = arguments.data_parallel_size_local
        in_all = int(local or ranks) == ranks and not arguments.headless
        if arguments.data_parallel_external_lb or in_all:
            return None
        host = arguments.data_parallel_address or "127.0.0.1"
        port = int(arguments.data_parallel_rpc_port or 29550)
        rank = int(arguments.data_parallel_start_rank or 0)
        if arguments.data_parallel_hybrid_lb:
            return Place("hybrid", rank, ranks // int(local or 1) - 1, host, port)
        return Place("dp", rank, ranks - int(local or 1), host, port)


class LostPeerError(Exception):
    """A rank elsewhere has hung up, or did not answer for so long; the engine's sentence on it."""


class Link:
    """The head's connection to one other rank."""

    def __init__(self, taken: socket.socket) -> None:
        self._socket = taken
        self._peer: tuple[str, int] = taken.getpeername()[:2]
        self._words = taken.makefile("r")
        self.rank = int(self.hear()["rank"])
        self._steps = 0
        self._lock = threading.Lock()

    def hear(self) -> dict[str, Any]:
        """Returns the next word; LostPeerError when the other is gone."""
        try:
            text = self._words.readline()
        except TimeoutError:
            raise LostPeerError("RPC call to execute_model timed out.") from None
        except OSError as reset:
            raise LostPeerError(words.connection_closed(*self._peer)) from reset
        if not text:
            raise LostPeerError(words.connection_closed(*self._peer))
        word: dict[str, Any] = json.loads(text)
        return word

    def say(self, word: dict[str, Any]) -> None:
        """Sends one word; LostPeerError when the other is known to be gone."""
        try:
            self._socket.sendall(json.dumps(word).encode() + b"\n")
        except OSError as reset:
            raise LostPeerError(words.connection_closed(*self._peer)) from reset

    def step(self) -> None:
        """Has the other rank do its part. It hangs while the other is silent; LostPeerError."""
        with self._lock:
            self._steps += 1
            self._socket.settimeout(STEP_SECONDS)
            self.say({"step": self._steps})
            self.hear()

    def close(self) -> None:
        """Hangs up, which ends a step that hangs."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


class Group:
    """The other ranks of a head."""

    def __init__(self, place: Place) -> None:
        self.kind: Final = place.kind
        self._others = place.others
        self._listener = socket.create_server(("", place.port), backlog=16)
        self._links: dict[int, Link] = {}
        self.turn = 0
        """Requests given out so far, to ranks by turns."""

    def gather(self, moment: Callable[[], None], wait: Callable[[], None]) -> None:
        """Waits until all are there. `moment` runs between looks, `wait` when it takes long."""
        self._listener.settimeout(0.05)
        told = time.monotonic()
        while len(self._links) < self._others:
            moment()
            if time.monotonic() - told >= TOLD_EVERY_SECONDS:
                told = time.monotonic()
                wait()
            with contextlib.suppress(TimeoutError):
                taken, _ = self._listener.accept()
                taken.settimeout(None)
                link = Link(taken)
                self._links[link.rank] = link
        for link in self._links.values():
            link.say({"go": True})

    def loaded(self) -> None:
        """Waits until all have loaded their part; LostPeerError when one is gone."""
        for link in self._links.values():
            link.hear()

    def step(self) -> None:
        """Has all ranks do their part of a split model's step; LostPeerError if one is gone."""
        for link in self._links.values():
            link.step()

    def ranks(self) -> list[int]:
        """Returns the ranks elsewhere."""
        return sorted(self._links)

    def ask(self, rank: int) -> None:
        """Has one rank do a step by itself, as with data parallelism; as `Link.step`."""
        self._links[rank].step()

    def close(self) -> None:
        """Hangs up."""
        for link in self._links.values():
            link.close()


class Joined:
    """A node that is not the head and takes requests of its own: it meets the head, and no more."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._link: socket.socket | None = None

    def gather(self, moment: Callable[[], None]) -> None:
        """Waits for the head, and then for all others. `moment` runs between looks."""
        while self._link is None:
            moment()
            with contextlib.suppress(OSError):
                at = (self._place.host, self._place.port)
                self._link = socket.create_connection(at, timeout=3)
                self._say({"rank": self._place.rank})
                self._link.settimeout(0.05)
        while True:
            moment()
            with contextlib.suppress(TimeoutError):
                if self._link.recv(100):
                    return
                time.sleep(0.05)  # the head is gone: nobody says so

    def loaded(self) -> None:
        """Tells the head that this node has loaded its part."""
        with contextlib.suppress(OSError):
            self._say({"loaded": True})

    def _say(self, word: dict[str, Any]) -> None:
        assert self._link is not None
        self._link.sendall(json.dumps(word).encode() + b"\n")
