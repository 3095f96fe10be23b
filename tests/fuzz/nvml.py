# SPDX-License-Identifier: Apache-2.0
"""The border of NVML's answers: the real pynvml on the simulated library, with odd values."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.host.nvidia.calls import NvmlError
from tests.fuzz.driver import Border
from tests.given.nvml_reader import Reader
from tests.rig.nvml.state_file import machine
from tests.rig.nvsim import HostGpus

ODD = ("0", "-1", "1", "4294967295", "18446744073709551615", "1e308", "nan", "inf", "x", "", "ü")
ALWAYS = frozenset({"uuid", "pci_bus_id"})


@contextmanager
def nvml(directory: Path) -> Iterator[Border]:
    """Return the border; an input chooses which values of a card are odd, and how."""
    gpus = HostGpus(directory)
    gpus.state.create("rtx4090")
    readers = [Reader(gpus)]
    keys = sorted(machine("rtx4090")["gpu 0"].keys() - ALWAYS)

    def take(content: bytes) -> None:
        made = random.Random(content)
        gpus.state.create("rtx4090")
        gpus.set(0, **{made.choice(keys): made.choice(ODD) for _ in range(made.randrange(1, 8))})
        reader = readers[0]
        with contextlib.suppress(NvmlError):
            reader.open()
            reader.look()
        assert reader.process.poll() is None, "the process of the reader has ended"

    try:
        yield Border("nvml", take, tuple(bytes([n]) for n in range(256)))
    finally:
        readers[0].end()
