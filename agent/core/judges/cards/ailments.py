# SPDX-License-Identifier: Apache-2.0
"""Cards that cannot be relied on until a person resets them, reboots the host or mends them.

llmagent never resets or reboots: it says with which commands. An ailment that NVML shows goes when
NVML no longer shows it. One that an Xid told of goes with a reboot, when the driver's counters
began anew (a reset or a reload), and when the operator reloads the agent or starts the service.
"""

from __future__ import annotations

from agent.core.changed import changed
from agent.core.failures.classes import FailureClass
from agent.core.gpu.reading import Gpu
from agent.core.judges.cards.sentences import named, tell
from agent.core.judges.turn import Turn
from agent.core.state.card import Ailment, Card, Cure

RECOVERY: dict[int, Cure] = {
    1: Cure.RESET,
    2: Cure.REBOOT,
    3: Cure.RESET,
    4: Cure.RESET,
    6: Cure.RESET,
    7: Cure.REBOOT,
}
"""What field 230 asks for (nvml.h 13.5: nvmlDeviceGpuRecoveryAction_t); 5 is about IMEX alone."""

AT_ONCE = frozenset(
    {FailureClass.GPU_LOST, FailureClass.XID_79, FailureClass.XID_167, FailureClass.XID_54}
    | {FailureClass.XID_48, FailureClass.XID_95, FailureClass.XID_140}
)
"""Gone cards, and memory errors that are not contained: what such a card computes may be wrong."""

SEVERITY = {Cure.RESET: 1, Cure.REBOOT: 2, Cure.HARDWARE: 3}


def commands_for_cure(card: Card, cure: Cure) -> str:
    """Return the commands that make the card well."""
    where = card.pci_bus_id or card.uuid
    match cure:
        case Cure.RESET:
            return (
                "Stop all that uses the GPU, llmagent too, and reset it: `systemctl stop llmagent "
                f"'*vllm*' nvidia-persistenced; nvidia-smi -i {where} -r; systemctl start "
                "nvidia-persistenced llmagent`. Where the reset is refused: `systemctl reboot`."
            )
        case Cure.REBOOT:
            return (
                "Reboot the host: `systemctl reboot`. If the GPU is still away, power the host off "
                "and check the card's seat, its power cable and the power supply; a lower "
                "`limit_watts` in [power] helps where the supply is weak."
            )
        case Cure.HARDWARE:
            return (
                f"Look at the card: `nvidia-smi -i {where} -q`, `nvidia-bug-report.sh`, its power "
                "cable and its seat. `systemctl reload llmagent` tries it again."
            )


def ail(turn: Turn, card: Card, failure: FailureClass, cure: Cure, why: str, *, seen: bool) -> Card:
    """Return the card as ailing; a worse ailment takes the place of a lesser one."""
    known = card.ailment
    if known is not None and SEVERITY[known.cure] >= SEVERITY[cure]:
        return card
    do = commands_for_cure(card, cure)
    tell(turn, card, "gpu-ailing", f"{named(card)}: {why}. To do: {do}", cure=cure.value)
    if known is not None and known.failure in AT_ONCE and failure not in AT_ONCE:
        failure = known.failure  # what it computes may be wrong still
    energy = _energy(turn, card)
    return changed(card, ailment=Ailment(failure, cure, turn.at, why, do, seen, energy))


def _energy(turn: Turn, card: Card) -> float | None:
    gpus = turn.gpus.gpus if turn.gpus is not None else ()
    return next((gpu.energy_joules for gpu in gpus if gpu.uuid == card.uuid), None)


def on_gpu(turn: Turn, card: Card, gpu: Gpu) -> Card:
    """Judge what NVML says of the card's health."""
    found = shown_by(gpu)
    if found is not None:
        return ail(turn, card, *found, seen=True)
    ailment = card.ailment
    if ailment is None or not (ailment.seen or _began_anew(ailment, gpu)):
        return card
    return recovered(turn, card, "NVML shows nothing wrong any more")


def shown_by(gpu: Gpu) -> tuple[FailureClass, Cure, str] | None:
    """Return what NVML itself shows of an ailment: its class, its cure and a sentence."""
    if gpu.lost:
        return FailureClass.GPU_LOST, Cure.REBOOT, "it has fallen off the bus"
    if gpu.reset_required:
        return FailureClass.XID_154, Cure.RESET, "the driver says that it must be reset"
    cure = RECOVERY.get(gpu.recovery_action or 0)
    if cure is not None:
        why = f"the driver asks for recovery action {gpu.recovery_action} ({cure.value})"
        return FailureClass.XID_154, cure, why
    return None


def _began_anew(ailment: Ailment, gpu: Gpu) -> bool:
    """Tell whether the driver took the card up anew: the energy counts from its last load."""
    then, now = ailment.energy_joules, gpu.energy_joules
    return then is not None and now is not None and now < then


def recovered(turn: Turn, card: Card, why: str) -> Card:
    """Return the card without its ailment."""
    if card.ailment is None:
        return card
    lasted = turn.at - card.ailment.since
    said = f"{named(card)} is well again after {lasted:.0f} s: {why}"
    tell(turn, card, "gpu-well", said)
    return changed(card, ailment=None)


def forgiven(turn: Turn, card: Card, why: str) -> Card:
    """Return the card without an ailment that only an Xid told of."""
    if card.ailment is None or card.ailment.seen:
        return card
    return recovered(turn, card, why)
