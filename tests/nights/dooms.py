# SPDX-License-Identifier: Apache-2.0
"""How a run ends of each class: the numbers in its message, its status, when it shows."""

from __future__ import annotations

from collections.abc import Mapping

from agent.core.diagnosis.numbers import Numbers
from agent.core.failures.classes import FailureClass
from tests.nights.engine import Doom

F = FailureClass

NUMBERS: Mapping[FailureClass, Numbers] = {
    F.PORT_IN_USE: Numbers(port=8000),
    F.DISK_FULL: Numbers(required_mib=15300.0, free_mib=41.5),
    F.TP_NOT_DIVISIBLE: Numbers(attention_heads=28, tensor_parallel_size=3),
    F.MAX_MODEL_LEN_TOO_BIG: Numbers(max_model_len=131072, derived_max_model_len=8192),
    F.NO_KERNEL_IMAGE: Numbers(capability=120),
    F.QUANT_UNSUPPORTED_DEVICE: Numbers(minimum_capability=89, capability=80),
    F.DRIVER_TOO_OLD: Numbers(driver_cuda=12040),
    F.HOST_OOM_KILLED: Numbers(pid=4242, rss_kib=61_000_000),
    F.MEM_PROFILING_RACE: Numbers(initial_free_gib=20.1, free_gib=22.4),
}
"""What the messages of these classes carry."""

AT_LOAD = frozenset(
    {F.WEIGHTS_CORRUPT, F.WEIGHTS_MISSING, F.WEIGHTS_MISMATCH, F.DISK_FULL, F.NO_KERNEL_IMAGE}
)
"""Classes that show while the weights are loaded; the others show at once."""


def numbers_of(failure: FailureClass) -> Numbers:
    if failure.value.startswith("xid-") and failure is not F.XID_OTHER:
        return Numbers(xid=int(failure.value[4:]), gpu=0)
    return NUMBERS.get(failure, Numbers())


def doom_of(failure: FailureClass | None, *, person: bool = False) -> Doom:
    if failure is F.HOST_OOM_KILLED:
        return Doom(None, numbers_of(failure), status=9, result="oom-kill")
    if failure is None or failure is F.ENGINE_DEAD:
        return Doom(failure, status=0, result="success")
    return Doom(failure, numbers_of(failure), person)
