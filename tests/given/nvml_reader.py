# SPDX-License-Identifier: Apache-2.0
"""The NVML adapter in a process of its own: pynvml loads a library once in a process's life.

Run as a program, it answers each line of JSON on stdin (a call of Nvml) with a pickled outcome.
"""

from __future__ import annotations

import base64
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

from agent.host.nvidia.calls import NvmlError
from agent.host.nvidia.nvml import Nvml, NvmlLook
from tests.rig.nvsim import HostGpus
from tests.rig.paths import REPO


class Reader:
    """An Nvml in another process; what it raises is raised here."""

    def __init__(self, gpus: HostGpus, proc: Path = Path("/proc")) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.given.nvml_reader", str(proc)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=gpus.environment,
            cwd=REPO,
        )

    def open(self) -> None:
        """Calls Nvml.open."""
        self._call("open")

    def look(self, *, medium: bool = True, slow: bool = True, processes: bool = False) -> NvmlLook:
        """Calls Nvml.look."""
        seen = self._call("look", medium=medium, slow=slow, processes=processes)
        assert isinstance(seen, NvmlLook)
        return seen

    def end(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.communicate()

    def _call(self, name: str, **arguments: bool) -> object:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([name, arguments]) + "\n")
        self.process.stdin.flush()
        outcome = pickle.loads(base64.b64decode(self.process.stdout.readline()))
        if isinstance(outcome, tuple):
            raise NvmlError(*outcome)
        return outcome


def main() -> None:
    """Answers until stdin ends."""
    nvml = Nvml(Path(sys.argv[1]))
    for line in sys.stdin:
        name, arguments = json.loads(line)
        outcome: Any
        try:
            outcome = getattr(nvml, name)(**arguments)
        except NvmlError as error:
            outcome = (str(error), error.code)
        print(base64.b64encode(pickle.dumps(outcome)).decode(), flush=True)


if __name__ == "__main__":
    main()
