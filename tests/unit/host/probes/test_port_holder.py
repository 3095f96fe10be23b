# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import socket
import subprocess

from agent.host.probes.port_holder import program


def test_the_program_in_the_transient_unit_needs_nothing_but_python_and_the_agents_code() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        argv = program(server.getsockname()[1])
        done = subprocess.run(argv, check=True, capture_output=True, text=True, cwd="/")
    assert json.loads(done.stdout)["pid"] == os.getpid()


def test_a_free_port_has_no_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    done = subprocess.run(program(free), check=True, capture_output=True, text=True, cwd="/")
    assert json.loads(done.stdout) is None
