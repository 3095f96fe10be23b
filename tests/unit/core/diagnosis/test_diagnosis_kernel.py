# SPDX-License-Identifier: Apache-2.0
"""The kernel log: every Xid has a class and an action, the killer is named, lost GPUs too."""

from __future__ import annotations

import pytest

from agent.core.failures.classes import FailureClass, Group, Kind, Outcome
from agent.core.failures.meaning import advice_for_class, group_of, kind_of, transient
from agent.core.failures.xids import XidAction, of_xid, xid_action
from tests.given.engine_logs import SERVING, diagnose

F = FailureClass

ACTIONS = {
    XidAction.RESTART: "8 11 13 25 31 32 39-41 43 60 68-72 75-77 80 82-86 88 89 94 96-105 109 "
    "126-135 139",
    XidAction.RESET: "46 48 62 64 74 95 110 119 120 136 140 143-150 154-156 158",
    XidAction.REBOOT: "79 167",
    XidAction.HOLD: "54 151 159 168",
}
"""What NVIDIA's Xid catalogue asks for first; every other code is noted only."""


def codes(text: str) -> set[int]:
    found: set[int] = set()
    for part in text.split():
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


@pytest.mark.parametrize("code", range(1, 173))
def test_every_code_of_the_catalogue_has_a_class_an_action_and_advice(code: int) -> None:
    line = f"NVRM: Xid (PCI:0000:65:00): {code}, pid='<unknown>', name=<unknown>, something"
    found = diagnose(line)
    wanted = next((a for a, text in ACTIONS.items() if code in codes(text)), XidAction.NOTE)
    assert found.failure is of_xid(code)
    assert found.numbers.xid == code
    assert xid_action(code) is wanted
    assert group_of(of_xid(code)) is Group.HARDWARE
    assert advice_for_class(of_xid(code)).endswith(".")
    curable = wanted in (XidAction.NOTE, XidAction.RESTART)
    assert transient(of_xid(code)) is curable
    assert (kind_of(of_xid(code)) is Kind.HUMAN) is not curable


@pytest.mark.parametrize(
    "line",
    [
        "NVRM: Xid (PCI:0000:65:00): 79, pid=1234, name=python3, GPU has fallen off the bus.",
        "NVRM: Xid (0000:65:00): 79, GPU has fallen off the bus.",
        "[ 93.027938] NVRM: Xid (PCI:0000:65:00): 79, pid='<unknown>', name=<unknown>, GPU has",
        "Nov 21 03:12:00 gpu-1 kernel: NVRM: Xid (PCI:0000:65:00): 79, GPU has fallen off the bus.",
        "kernel: [ 5.1] NVRM: Xid (PCI:0000:65:00 GPU-I:05): 79, pid=1, name=VLLM::Worker, Ch 8",
        "[Fri Nov 21 03:12:00 2025] NVRM: Xid (PCI:0001:65:00): 79, pid=1, name=x, GPU has fallen",
    ],
)
def test_the_forms_of_an_xid_line(line: str) -> None:
    assert diagnose(line).failure is F.XID_79


@pytest.mark.parametrize(
    "line",
    [
        "NVRM: GPU 0000:18:00.0: GPU has fallen off the bus.",
        "NVRM: GPU at PCI:0000:18:00: GPU-5f2b has fallen off the bus.",
        "NVRM: The NVIDIA GPU 0000:18:00.0 (PCI ID: 10de:2684) installed in this system has fallen "
        "off the bus and is not responding to commands.",
        "nvidia 0000:18:00.0: Unable to change power state from D3cold to D0, device inaccessible",
        "Unable to determine the device handle for GPU 0000:18:00.0: GPU is lost.  Reboot it",
    ],
)
def test_a_lost_gpu_is_named_without_a_code(line: str) -> None:
    found = diagnose(line)
    assert (found.failure, found.outcome) == (F.GPU_LOST, Outcome.FAILED)


def test_a_gsp_that_does_not_answer_is_its_own_xid() -> None:
    found = diagnose(
        "NVRM: Xid (PCI:0000:01:00): 119, pid=4711, name=nvidia-smi, Timeout after 6s of waiting "
        "for RPC response from GPU0 GSP! Expected function 76 (GSP_RM_CONTROL)"
    )
    assert (found.failure, found.transient) == (F.XID_119, False)


def test_the_drivers_own_verdict_is_kept_as_a_number() -> None:
    found = diagnose(
        "NVRM: Xid (PCI:0000:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x2 (Node "
        "Reboot Required)"
    )
    assert (found.failure, found.numbers.recovery_action) == (F.XID_154, 2)


def test_what_the_driver_asks_for_counts_where_the_xid_before_it_asks_for_less() -> None:
    """A contained error ends one process; the driver then says that the card needs more."""
    contained = "NVRM: Xid (PCI:0000:0a:00): 94, pid=77, name=VLLM::EngineCor, Contained: SM (0x3)."
    asks = (
        "NVRM: Xid (PCI:0000:0a:00): 154, pid='<unknown>', name=<unknown>, GPU recovery action "
        "changed from 0x0 (None) to 0x{}"
    )
    assert diagnose(contained).failure is F.XID_94
    reset = diagnose(f"{contained}\n{asks.format('1 (GPU Reset Required)')}")
    assert (reset.failure, reset.transient) == (F.XID_154, False)
    assert diagnose(f"{contained}\n{asks.format('0 (None)')}").failure is F.XID_94
    gone = "NVRM: Xid (PCI:0000:0a:00): 79, pid=77, name=python3, GPU has fallen off the bus."
    assert diagnose(f"{gone}\n{asks.format('1 (GPU Reset Required)')}").failure is F.XID_79


def test_an_xid_that_another_one_caused_is_not_the_class() -> None:
    found = diagnose(
        "NVRM: Xid (PCI:0000:dc:00): 45, pid=1, name=python3, Ch 1 caused by previous Xid 149\n"
        "NVRM: Xid (PCI:0000:dc:00): 149, NETIR_LINK_EVT Fatal XC0 i0 Link 05"
    )
    assert found.failure is F.XID_149


@pytest.mark.parametrize("who", ["VLLM::EngineCor", "VLLM::Worker_TP", "python3", "pt_main_thread"])
@pytest.mark.parametrize("scope", ["Out of memory", "Memory cgroup out of memory"])
def test_the_killer_and_its_numbers_are_read(who: str, scope: str) -> None:
    found = diagnose(
        f"{SERVING}\n[77.5] {scope}: Killed process 4711 ({who}) total-vm:9kB, anon-rss:61234567kB"
    )
    assert (found.failure, found.outcome) == (F.HOST_OOM_KILLED, Outcome.FAILED)
    assert (found.numbers.pid, found.numbers.rss_kib) == (4711, 61234567)


def test_the_cgroup_line_alone_names_the_killer() -> None:
    line = (
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=vllm.service,mems_allowed=0,"
        "oom_memcg=/system.slice/vllm.service,task=VLLM::EngineCor,pid=4711,uid=0"
    )
    assert diagnose(line).failure is F.HOST_OOM_KILLED


def test_a_module_and_a_library_of_two_versions_are_a_mismatch() -> None:
    line = (
        "NVRM: API mismatch: the client has the version 550.90, but this kernel module has 535.183"
    )
    assert diagnose(line).failure is F.NVML_MISMATCH


@pytest.mark.parametrize("carried", ["", "Nov 21 03:50:01 gpu-1 systemd-coredump[9]: "])
def test_a_child_that_dumped_core_is_no_death_without_a_word(carried: str) -> None:
    """The main process says only that its engine is gone; systemd-coredump says how."""
    ours = "Nov 21 03:50:00 gpu-1 vllm[4711]: " if carried else ""
    dump = "Process 4712 (VLLM::EngineCor) of user 996 dumped core."
    gone = "(APIServer pid=1) ERROR 11-21 03:50:00 [core_client.py:612] Engine core proc died"
    log = [ours + line for line in SERVING.strip().split("\n")]
    for said in ([carried + dump, f"{ours}{gone}"], [f"{ours}{gone}", carried + dump]):
        assert diagnose([*log, *said]).failure is FailureClass.NATIVE_CRASH
    other = f"{carried}Process 4712 (postgres) of user 996 dumped core."
    assert diagnose([*log, other]).outcome is Outcome.READY


def test_a_shell_that_says_killed_tells_of_a_death_from_outside() -> None:
    word = "/start.sh: line 7:    77 Killed       vllm serve m"
    found = diagnose([*SERVING.strip().split("\n"), word])
    assert (found.outcome, found.failure) == (Outcome.FAILED, FailureClass.ENGINE_DEAD)
    assert "killed from outside" in found.advice
