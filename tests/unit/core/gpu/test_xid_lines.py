# SPDX-License-Identifier: Apache-2.0
"""Lines of the kernel log, and the catalogue that says what they mean."""

from __future__ import annotations

import tomllib
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.failures.xids import CATALOGUE, XidAction, meaning_of_xid, xid_action
from agent.core.gpu.xid_lines import XidLine, Xids, pci_key
from agent.host.data.xids import load_xids

BUCKETS = {
    "RESTART_APP": XidAction.RESTART,
    "RESET_GPU": XidAction.RESET,
    "RESTART_BM": XidAction.REBOOT,
    "IGNORE": XidAction.NOTE,
    "CONTACT_SUPPORT": XidAction.NOTE,
    "UPDATE_SWFW": XidAction.NOTE,
    "WORKFLOW_XID_45": XidAction.NOTE,
    "WORKFLOW_XID_48": XidAction.RESET,
    "WORKFLOW_NVLINK_ERR": XidAction.RESET,
    "WORKFLOW_NVLINK5_ERR": XidAction.RESET,
    "XID_154": XidAction.RESET,
    "CHECK_MECHANICALS": XidAction.HOLD,
    "RESTART_VM": XidAction.HOLD,
    "CHECK_UVM": XidAction.HOLD,
    "": XidAction.NOTE,
}

OURS = {
    43: XidAction.RESTART,  # the application's own fault: look whether it lives
    109: XidAction.RESTART,  # the application first; a second one asks for the reset
    167: XidAction.REBOOT,  # no bucket of NVIDIA's; the card is gone, as with 79
    168: XidAction.HOLD,  # no bucket either; the card has less memory than it should
}
"""Where llmagent does otherwise than the catalogue, and why."""


@pytest.fixture(scope="module")
def xids() -> Xids:
    return load_xids()


def test_every_code_is_acted_on_as_nvidia_says_or_for_a_reason() -> None:
    assert len(CATALOGUE) == 172
    for code, row in CATALOGUE.items():
        assert xid_action(code) is OURS.get(code, BUCKETS[row.nvidia]), code


def test_every_code_that_is_acted_on_has_a_name_and_a_meaning() -> None:
    for code, row in CATALOGUE.items():
        assert row.name
        if xid_action(code) is not XidAction.NOTE:
            assert row.meaning, code


def test_every_pattern_reads_its_example(xids: Xids) -> None:
    text = (resources.files("agent.xids") / "lines.toml").read_text()
    for line in tomllib.loads(text)["line"]:
        assert xids.read(line["example"]) is not None


LINES = {
    "NVRM: Xid (PCI:0000:01:00): 79, pid=1234, name=python3, GPU has fallen off the bus.": XidLine(
        "0000:01:00", 79, 1234
    ),
    "NVRM: Xid (PCI:0000:c1:00): 13, pid='<unknown>', name=<unknown>, Graphics SM Warp": XidLine(
        "0000:c1:00", 13
    ),
    "NVRM: Xid (0000:03:00): 31, Ch 00000010, engmask 00000101": XidLine("0000:03:00", 31),
    "NVRM: Xid (PCI:0000:05:00 GPU-I:02): 94, pid=7, Contained": XidLine("0000:05:00", 94, 7),
    "[12.5] NVRM: Xid (PCI:0009:01:00): 119, pid=88, name=vllm, Timeout after 6s": XidLine(
        "0009:01:00", 119, 88
    ),
    "NVRM: Xid (PCI:0000:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x2 (Node "
    "Reboot Required | OS Reboot)": XidLine("0000:01:00", 154, 0, 2),
    "NVRM: Xid (PCI:0000:01:00): 154, pid='<unknown>', GPU recovery action changed from 0x1 (GPU "
    "Reset Required) to 0x0 (None)": XidLine("0000:01:00", 154, 0, 0),
    "NVRM: GPU 0000:18:00.0: GPU has fallen off the bus.": XidLine("0000:18:00", 79),
    "NVRM: The NVIDIA GPU 0000:18:00.0 (PCI ID: 10de:2330)\nNVRM: fallen off the bus": None,
    "NVRM: The NVIDIA GPU 0000:18:00.0 has fallen off the bus and is not responding": XidLine(
        "0000:18:00", 79
    ),
    "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  595.71.05": None,
    "nvidia 0000:01:00.0: enabling device (0000 -> 0003)": None,
    "Xid (PCI:0000:01:00): 79, said by somebody else": None,
    "tmpfs: Unknown parameter 'NVRM: Xid (PCI:0000:01:00): 79'": None,
    "oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/NVRM: Xid (PCI:0000:01:00): 79,": None,
    "NVRM: Xid (PC[7]: segfault at 0 NVRM: Xid (PCI:0000:01:00): 79, pid=1": None,
    "x\nNVRM: Xid (PCI:0000:01:00): 79, pid=1": None,
    f"NVRM: Xid (PCI:0000:01:00): {'7' * 5000}, pid=1": None,
    f"NVRM: Xid (PCI:0000:01:00): 31, pid={'7' * 5000}": XidLine("0000:01:00", 31, int("7" * 18)),
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_the_driver_is_read(xids: Xids, line: str) -> None:
    assert xids.read(line) == LINES[line]


@given(st.text())
def test_no_line_of_anything_is_a_fault(line: str) -> None:
    load = Xids([])
    assert load.read(line) is None
    assert isinstance(pci_key(line), str)


def test_both_forms_of_a_bus_id_are_one() -> None:
    assert pci_key("00000000:C1:00.0") == pci_key("0000:c1:00") == "0000:c1:00"


def test_a_code_that_is_not_in_the_catalogue_has_no_name() -> None:
    assert meaning_of_xid(4711).name == ""
    assert meaning_of_xid(79).nvidia == "RESTART_BM"
