# SPDX-License-Identifier: Apache-2.0
"""What each failure class means: who can cure it and what a person must do.

Kinds follow what vLLM 0.6.3..0.32 does on a second start with the same settings; the Xid buckets
are the "immediate action" of NVIDIA's Xid catalogue (docs.nvidia.com/deploy/xid-errors).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from agent.core.failures.advice import ADVICE
from agent.core.failures.classes import FailureClass, Group, Kind

F = FailureClass


class XidAction(StrEnum):
    """What an Xid asks for on a host that nobody watches."""

    NOTE = "note"
    RESTART = "restart"
    RESET = "reset"
    REBOOT = "reboot"
    HOLD = "hold"


_RESET = frozenset({46, 48, 62, 64, 95, 110, 119, 120, 136, 140, 143, 155, 156, 158})
_RESET_UNLESS_154_SAYS_MORE = frozenset({74, 144, 145, 146, 147, 148, 149, 150, 154})
_REBOOT = frozenset({79, 167})
_HOLD = frozenset({54, 151, 159, 168})
_RESTART = frozenset(
    {8, 11, 13, 25, 31, 32, 39, 40, 41, 43, 60, 75, 76, 77, 80, 88, 89, 94, 109, 139}
    | {68, 69, 70, 71, 72, 82, 83, 84, 85, 86}
    | set(range(96, 106))
    | set(range(126, 136))
)


def xid_action(code: int) -> XidAction:
    """Return the bucket of an Xid; codes that the catalogue gives no action are noted only."""
    if code in _RESET or code in _RESET_UNLESS_154_SAYS_MORE:
        return XidAction.RESET
    if code in _REBOOT:
        return XidAction.REBOOT
    if code in _HOLD:
        return XidAction.HOLD
    return XidAction.RESTART if code in _RESTART else XidAction.NOTE


_XID_ADVICE: Mapping[XidAction, str] = {
    XidAction.NOTE: "Nothing now; look at the kernel log when it comes often.",
    XidAction.RESTART: "Restart vLLM; when it comes back within the hour, suspect the last change "
    "of model, flags or version.",
    XidAction.RESET: "Stop everything that uses the GPU and reset it (nvidia-smi -r), else reboot.",
    XidAction.REBOOT: "Power-cycle the host; check the card's seat, its power cables and the power "
    "supply, and try a lower power limit.",
    XidAction.HOLD: "Check cables, power and firmware of the GPU; no restart helps.",
}

_XID_KIND: Mapping[XidAction, Kind] = {
    XidAction.NOTE: Kind.TRANSIENT,
    XidAction.RESTART: Kind.TRANSIENT,
    XidAction.RESET: Kind.HUMAN,
    XidAction.REBOOT: Kind.HUMAN,
    XidAction.HOLD: Kind.HUMAN,
}


@dataclass(frozen=True, slots=True)
class FailureFacts:
    """One row of the table."""

    kind: Kind
    group: Group
    advice: str


def _rows(kind: Kind, group: Group, *classes: FailureClass) -> dict[FailureClass, FailureFacts]:
    return {name: FailureFacts(kind, group, ADVICE[name]) for name in classes}


def _xid_rows() -> dict[FailureClass, FailureFacts]:
    rows = {}
    for name in FailureClass:
        if name.value.startswith("xid-"):
            action = XidAction.NOTE if name is F.XID_OTHER else xid_action(int(name.value[4:]))
            rows[name] = FailureFacts(_XID_KIND[action], Group.HARDWARE, _XID_ADVICE[action])
    return rows


TABLE: Mapping[FailureClass, FailureFacts] = {
    **_rows(
        Kind.PERMANENT,
        Group.MEMORY,
        *(F.OOM_FREE_MEM_STARTUP, F.OOM_KV_NONE, F.OOM_KV_TOO_SMALL_FOR_MAXLEN),
        *(F.MAMBA_BLOCKS_TOO_FEW, F.OOM_WEIGHTS_LOAD, F.OOM_PROFILE),
        *(F.OOM_SAMPLER_WARMUP, F.OOM_GRAPH_CAPTURE),
    ),
    **_rows(
        Kind.TRANSIENT,
        Group.MEMORY,
        *(F.OOM_RUNTIME, F.MEM_PROFILING_RACE, F.HOST_OOM_KILLED),
    ),
    **_rows(
        Kind.TRANSIENT,
        Group.ENGINE,
        *(F.ENGINE_DEAD, F.WORKER_DIED, F.ENGINE_HUNG, F.START_STALLED),
    ),
    **_rows(
        Kind.TRANSIENT,
        Group.CUDA,
        *(F.CUDA_ILLEGAL_MEMORY_ACCESS, F.CUDA_LAUNCH_FAILURE, F.CUDA_ASSERT, F.CUDA_BUSY),
        *(F.NCCL_ERROR, F.NCCL_TIMEOUT),
    ),
    **_rows(
        Kind.HUMAN,
        Group.HARDWARE,
        *(F.GPU_LOST, F.CUDA_NOT_INITIALIZED_802, F.CUDA_UNKNOWN),
    ),
    **_xid_rows(),
    **_rows(
        Kind.HUMAN,
        Group.HOST_SOFTWARE,
        *(F.DRIVER_TOO_OLD, F.NVML_MISMATCH, F.NO_GPU, F.NO_KERNEL_IMAGE, F.LIBCUDART_MISSING),
        *(F.LIBSTDCXX_TOO_OLD, F.TORCH_MISMATCH),
        *(F.IMAGE_MISSING, F.CONTAINER_GPU, F.CONTAINER_REFUSED),
    ),
    **_rows(Kind.TRANSIENT, Group.HOST_SOFTWARE, F.CONTAINER_DAEMON),
    **_rows(Kind.HUMAN, Group.HUB, F.GATED_REPO, F.REPO_NOT_FOUND, F.HUB_AUTH),
    **_rows(Kind.TRANSIENT, Group.HUB, F.HUB_UNREACHABLE, F.HUB_OFFLINE, F.HUB_RATE_LIMIT),
    **_rows(
        Kind.HUMAN,
        Group.HOST,
        *(F.DISK_FULL, F.SHM_TOO_SMALL, F.CACHE_NOT_WRITABLE, F.FD_LIMIT),
    ),
    **_rows(
        Kind.PERMANENT,
        Group.FILES,
        *(F.WEIGHTS_CORRUPT, F.WEIGHTS_MISSING, F.WEIGHTS_MISMATCH, F.TOKENIZER_MISSING),
    ),
    **_rows(
        Kind.PERMANENT,
        Group.CONFIGURATION,
        *(F.UNKNOWN_ARG, F.BAD_ARG_VALUE, F.REMOVED_FLAG, F.MAX_MODEL_LEN_TOO_BIG),
        *(F.TP_NOT_DIVISIBLE, F.UNSUPPORTED_ARCH, F.TRUST_REMOTE_CODE, F.MODEL_PATH),
        *(F.CHAT_TEMPLATE_MISSING, F.QUANT_MISMATCH, F.QUANT_UNSUPPORTED_DEVICE),
        *(F.KV_DTYPE_UNSUPPORTED, F.ATTN_BACKEND_UNSUPPORTED, F.FP8_KERNEL_UNSUPPORTED),
        F.DTYPE_UNSUPPORTED,
    ),
    **_rows(Kind.TRANSIENT, Group.PORT, F.PORT_IN_USE),
    **_rows(Kind.HUMAN, Group.BUILD, F.NO_C_COMPILER, F.NVCC_MISSING),
    **_rows(
        Kind.TRANSIENT,
        Group.SHUTDOWN,
        *(F.SIGTERM_IGNORED_AT_STARTUP, F.SHUTDOWN_DRAIN, F.SHUTDOWN_OPEN_CONNECTION),
        F.SHUTDOWN_SIGTERM,
    ),
    **_rows(
        Kind.PERMANENT,
        Group.FALLBACK,
        *(F.FALLBACK_AWQ_FORCED, F.FALLBACK_AWQ_UNOPTIMIZED, F.FALLBACK_FP8_MARLIN),
        *(F.FALLBACK_FP4_MARLIN, F.FALLBACK_V1_TO_V0, F.FALLBACK_V1_TO_V0_FP8KV),
        *(F.FALLBACK_ATTN_XFORMERS, F.FALLBACK_ATTN_FLEX, F.FALLBACK_ATTN_TRITON),
        F.FALLBACK_ATTN_SDPA,
    ),
    **_rows(Kind.TRANSIENT, Group.UNKNOWN, F.UNKNOWN),
}

NEVER_A_FAILURE = frozenset(
    name for name, row in TABLE.items() if row.group in {Group.SHUTDOWN, Group.FALLBACK}
)
"""How a run stopped, or how it differs from what was asked: the engine did what it could."""

_UNDECIDED = frozenset({F.OOM_FREE_MEM_STARTUP, F.UNKNOWN})


def kind_of(failure: FailureClass) -> Kind:
    """Return who can cure the failure."""
    return TABLE[failure].kind


def group_of(failure: FailureClass) -> Group:
    """Return what the failure is about."""
    return TABLE[failure].group


def advice_for_class(failure: FailureClass) -> str:
    """Return the one sentence that tells a person what to do."""
    return TABLE[failure].advice


def transient(failure: FailureClass) -> bool | None:
    """Tell whether the same settings may succeed next time; None when the log cannot know.

    `oom-free-mem-startup` is None: the holder of the memory may be leaving or may stay.
    """
    if failure in _UNDECIDED:
        return None
    return TABLE[failure].kind is Kind.TRANSIENT


def of_xid(code: int) -> FailureClass:
    """Return the class of an Xid code; `xid-other` for one that the catalogue does not use."""
    try:
        return FailureClass(f"xid-{code}")
    except ValueError:
        return F.XID_OTHER
