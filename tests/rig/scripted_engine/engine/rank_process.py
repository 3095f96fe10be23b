# SPDX-License-Identifier: Apache-2.0
"""A rank on another node than the head: its worker, or its engine core with data parallelism.

Run from standard input, so that the command line is the title alone, as vLLM's is. It calls the
head until that answers, says that it is there, and answers every step. When the head is gone it
does what vLLM's does: nothing, for ever.
"""

import ctypes
import json
import os
import signal
import socket
import sys
import time


def say(link: socket.socket, word: dict[str, object]) -> None:
    """Sends one word."""
    link.sendall(json.dumps(word).encode() + b"\n")


def call(host: str, port: int) -> socket.socket:
    """Returns a connection to the head, once it is there."""
    while True:
        try:
            return socket.create_connection((host, port), timeout=3)
        except OSError:
            time.sleep(0.1)


def silent() -> None:
    """Lives on without a word."""
    while True:
        time.sleep(3600)


def main() -> None:
    """Serves the head until that is gone; tells the parent what it waits for."""
    ctypes.CDLL(None).prctl(15, sys.argv[0].encode() or b"VLLM::Worker")
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # it does not outlive its parent
    parent = socket.socket(fileno=int(os.environ["SCRIPTED_ENGINE_FD"]))
    head = call(os.environ["SCRIPTED_ENGINE_HEAD"], int(os.environ["SCRIPTED_ENGINE_PORT"]))
    head.settimeout(None)
    say(head, {"rank": int(os.environ["SCRIPTED_ENGINE_RANK"])})
    words = head.makefile("r")
    if not words.readline():
        silent()
    say(parent, {"joined": True})
    if not parent.recv(100):  # it says when its part is loaded
        return
    say(head, {"loaded": True})
    for word in words:
        say(head, {"done": json.loads(word)["step"]})
    silent()


main()
