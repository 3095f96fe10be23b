# SPDX-License-Identifier: Apache-2.0
"""The process that systemd starts."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from typing import NoReturn

from engine import flags, scenario
from engine.cues import Serving
from engine.follower import Follower
from engine.group import Place
from engine.server import Server
from engine.startup import Startup
from engine.words import API, line

ROUTES = ("/health", "/metrics", "/v1/models", "/version", "/v1/completions")


def main(module: str, argv: list[str]) -> NoReturn:
    """Runs to the end of the process."""
    port = port_in(argv)
    wanted = not {"--help", "--help=all", "-h"} & set(argv)
    scene = scenario.load(port, argv) if wanted else scenario.Scenario()
    if scene.sigterm_during_start == "ignore":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    arguments = flags.parse(module, argv, scene.seconds("import"))
    if arguments.headless and (place := Place.of(arguments)):
        Follower(arguments, scene, place).live()
    server = bind(arguments)
    # A SIGTERM to this process alone is swallowed while the engine starts (vLLM 0.16..0.32).
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    startup = Startup(arguments, scene)
    core = startup.play()
    serving = Serving(arguments, scene, startup.memory, core, startup.group)
    where = (
        f"unix:{arguments.uds}" if arguments.uds else f"http://{arguments.host}:{arguments.port}"
    )
    API.info("entry.py:140", f"Starting vLLM server on {where}")
    API.info("launcher.py:186", "Available routes are:")
    for route in ROUTES:
        API.info("launcher.py:195", f"Route: {route}, Methods: GET")
    line(f"INFO:     Started server process [{os.getpid()}]")
    line("INFO:     Waiting for application startup.")
    threading.Thread(target=server.serve, args=[serving], daemon=True).start()
    line("INFO:     Application startup complete.")
    signal.signal(
        signal.SIGTERM, lambda *_: threading.Thread(target=serving.stop, daemon=True).start()
    )
    serving.start()
    # A signal that another thread takes runs its handler only when this one wakes up.
    while not serving.ended.wait(0.2):
        pass
    line("INFO:     Shutting down")
    line("INFO:     Application shutdown complete.")
    sys.stdout.flush()
    # Requests that hang are abandoned with their threads.
    os._exit(serving.status or 0)


def bind(arguments: argparse.Namespace) -> Server:
    """Takes the port, or ends as vLLM does when somebody else has it."""
    try:
        return Server(arguments)
    except OSError as taken:
        line("Traceback (most recent call last):")
        line(f"OSError: [Errno {taken.errno}] {os.strerror(taken.errno or 0)}")
        sys.exit(1)


def port_in(argv: list[str]) -> int:
    """Returns the port of a command line that may yet turn out to be wrong."""
    for word, following in zip(argv, [*argv[1:], ""], strict=True):
        if word.startswith("--port="):
            return int(word.removeprefix("--port="))
        if word == "--port" and following.isdigit():
            return int(following)
    return 8000
