# SPDX-License-Identifier: Apache-2.0
"""The GPUs as status.json, `llmagent status` and the exporter show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from functools import lru_cache
from typing import Any

from agent.core.codec import encode
from agent.core.gpu.reading import ClockEvents, Driver, Gpu, Gpus
from agent.core.record import dataclass
from agent.core.state.card import Card

NO_GPUS = Gpus(0.0)


@dataclass(frozen=True, slots=True)
class GpuView:
    """One card: what NVML says of it, what is remembered of it, which services are given it."""

    gpu: Gpu
    card: Card
    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GpusView:
    """All cards, lost ones too, in the order of their index.

    `sampled_seconds` is when NVML was last asked, since the epoch, 0 for never. `stale`: that is
    too long ago for its numbers to be shown as those of now. `nameless` counts the cards that NVML
    cannot reach and that nobody has known by name before.
    """

    sampled_seconds: float = 0.0
    stale: bool = False
    driver: Driver = field(default_factory=Driver)
    gpus: tuple[GpuView, ...] = ()
    nameless: int = 0

    @property
    def nvml_up(self) -> bool:
        """Whether NVML answers."""
        return bool(self.sampled_seconds) and not self.stale and not self.driver.problem


def view_of_gpus(
    gpus: Gpus | None,
    cards: Mapping[str, Card],
    services: Mapping[str, tuple[str, ...]],
    *,
    stale: bool,
    ahead_seconds: float,
) -> GpusView:
    """Put together what is known; `services` gives for each the `gpus` of its settings.

    A card that a working NVML does not list any more is shown as lost, under the index that it
    had. `ahead_seconds` is what the wall clock is ahead of agent time.
    """
    seen = gpus or NO_GPUS
    listed = {gpu.uuid for gpu in seen.gpus}
    works = bool(seen.at) and not seen.driver.problem
    gone = tuple(
        Gpu(card.index, uuid, card.name, card.pci_bus_id, lost=works or card.lost_since > 0)
        for uuid, card in cards.items()
        if uuid not in listed
    )
    every = sorted((*seen.gpus, *gone), key=lambda gpu: (gpu.index, gpu.uuid))
    return GpusView(
        sampled_seconds=seen.at + ahead_seconds if seen.at else 0.0,
        stale=stale,
        driver=seen.driver,
        nameless=len(seen.nameless),
        gpus=tuple(
            GpuView(gpu, cards.get(gpu.uuid) or Card(gpu.uuid, gpu.index), _given(gpu, services))
            for gpu in every
        ),
    )


def _given(gpu: Gpu, services: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    names = {"all", gpu.uuid, str(gpu.index)}
    return tuple(name for name, asked in services.items() if not names.isdisjoint(asked))


@lru_cache(maxsize=64)
def names_of(events: ClockEvents) -> tuple[str, ...]:
    """Return the reasons that are set, by NVML's names in lower case, bit 0 first."""
    return tuple(name for name, bit in REASONS if events & bit)


REASONS = tuple((bit.name.lower(), bit) for bit in ClockEvents if bit.name)
"""Each clock event reason with its bit; the name is a metric's label."""


def gpus_to_json(view: GpusView) -> dict[str, Any]:
    """Return the keys of status.json that are about GPUs: `gpus`, `driver`, and of what time."""
    return {
        "gpus": [_card(one) for one in view.gpus],
        "gpus_sampled_seconds": view.sampled_seconds,
        "gpus_stale": view.stale,
        "gpus_nameless": view.nameless,
        "driver": {**encode(view.driver), "mismatch": view.driver.mismatch},
    }


def _card(view: GpuView) -> dict[str, Any]:
    """Return Gpu's fields under their names, then what is remembered of the card."""
    gpu, card = view.gpu, view.card
    document: dict[str, Any] = encode(gpu)
    document["ecc_errors"] = _nested(gpu.ecc_errors)
    for name in ("clock_events", "clock_events_supported"):
        events: ClockEvents | None = getattr(gpu, name)
        document[name] = None if events is None else [*names_of(events)]
    document["services"] = list(view.services)
    document["power_limit"] = {
        "state": card.cap.state.value,
        "why": card.cap.why,
        "asked_watts": card.cap.asked_watts,
        "target_watts": card.cap.target_watts,
        "held_lower_watts": card.cap.held_lower_watts,
        "reasserts": encode(card.cap.reasserts),
    }
    document["heat"] = card.heat.level.value
    document["throttle"] = encode(card.throttle)
    document["xids"] = {
        str(code): {"count": seen.count, "last_seconds": seen.last_at}
        for code, seen in card.xids.items()
    }
    document["ailment"] = encode(card.ailment)
    return document


def _nested(counts: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (severity, scope), count in counts.items():
        nested.setdefault(severity, {})[scope] = count
    return nested
