# SPDX-License-Identifier: Apache-2.0
"""A library that an interrupted upgrade cut off is told, and never given to dlopen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.host.nvidia.calls import NvmlError
from agent.host.nvidia.elf import cut_off
from agent.host.nvidia.nvml import Nvml
from tests.rig.nvsim import HostGpus

LOAD = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"


def test_every_cut_that_would_end_the_process_is_seen(gpus: HostGpus, tmp_path: Path) -> None:
    whole = gpus.files.library.read_bytes()
    file = tmp_path / "libnvidia-ml.so.1"
    file.write_bytes(whole)
    assert cut_off(file) == ""
    for part in (4, 8, 16):
        file.write_bytes(whole[: len(whole) * part // 20])
        died = subprocess.run([sys.executable, "-c", LOAD, str(file)], check=False).returncode < 0
        assert cut_off(file) or not died


def test_a_library_that_is_cut_off_is_told_with_what_to_do(gpus: HostGpus, tmp_path: Path) -> None:
    file = tmp_path / "libnvidia-ml.so.1"
    file.write_bytes(gpus.files.library.read_bytes()[:8192])
    with pytest.raises(NvmlError, match=r"is cut off: 8192 of at least .* bytes: "):
        Nvml().open(file)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_file_can_stop_the_look(
    tmp_path_factory: pytest.TempPathFactory, a: bytes, b: bytes
) -> None:
    file = tmp_path_factory.mktemp("elf") / "x"
    for content in (a, b"\x7fELF\x02\x01" + b, b"\x7fELF\x02\x01" + b"\xff" * 58 + a):
        file.write_bytes(content)
        assert isinstance(cut_off(file), str)
