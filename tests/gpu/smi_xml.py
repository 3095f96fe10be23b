# SPDX-License-Identifier: Apache-2.0
"""What `nvidia-smi -q -x` says of a card, to compare with, under the names of core.gpu.reading."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

from agent.core.gpu.reading import Gpu

Value = float | str | bool | None
MIB: Final = 1 << 20
NOTHING: Final = frozenset({"", "N/A", "[N/A]", "Not Supported", "Requested functionality"})


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity: where the XML has it (newest place first), and how far both may be apart.

    `scale` turns the XML's number into base units; 0 means that it is a text.
    """

    name: str
    paths: tuple[str, ...]
    ours: Callable[[Gpu], Value]
    scale: float = 1.0
    apart: float = 0.0


def _enabled(ours: Callable[[Gpu], bool | None]) -> Callable[[Gpu], Value]:
    words = {True: "Enabled", False: "Disabled", None: None}
    return lambda gpu: words[ours(gpu)]


def _power(*tags: str) -> tuple[str, ...]:
    return tuple(
        f"{group}/{tag}" for group in ("gpu_power_readings", "power_readings") for tag in tags
    )


def _memory(pick: str) -> Callable[[Gpu], Value]:
    return lambda gpu: None if gpu.memory is None else getattr(gpu.memory, f"{pick}_bytes")


def _limit(pick: str) -> Callable[[Gpu], Value]:
    return lambda gpu: getattr(gpu.power_limits, f"{pick}_watts")


def _clock(domain: str, *, highest: bool) -> Callable[[Gpu], Value]:
    return lambda gpu: (gpu.clocks_max_hertz if highest else gpu.clocks_hertz).get(domain)


LINK: Final = "pci/pci_gpu_link_info"
ROWS: Final = (
    Row("name", ("product_name",), lambda gpu: gpu.name, 0),
    Row("uuid", ("uuid",), lambda gpu: gpu.uuid, 0),
    Row("serial", ("serial",), lambda gpu: gpu.serial, 0),
    Row("vbios", ("vbios_version",), lambda gpu: gpu.vbios_version, 0),
    Row("pci bus id", ("pci/pci_bus_id",), lambda gpu: gpu.pci_bus_id, 0),
    Row("performance state", ("performance_state",), lambda gpu: gpu.performance_state, 1, 2),
    Row("persistence", ("persistence_mode",), _enabled(lambda gpu: gpu.persistence_mode), 0),
    Row("ecc", ("ecc_mode/current_ecc",), _enabled(lambda gpu: gpu.ecc_enabled), 0),
    Row("mig", ("mig_mode/current_mig",), _enabled(lambda gpu: gpu.mig_mode), 0),
    Row("fan", ("fan_speed",), lambda gpu: gpu.fan_ratio, 0.01, 0.1),
    Row("temperature", ("temperature/gpu_temp",), lambda gpu: gpu.temperature_celsius, 1, 3),
    Row("margin", ("temperature/gpu_temp_tlimit",), lambda gpu: gpu.margin_celsius, 1, 3),
    Row(
        "memory temperature",
        ("temperature/memory_temp",),
        lambda gpu: gpu.memory_temperature_celsius,
        1,
        3,
    ),
    Row(
        "power",
        _power("average_power_draw", "power_draw"),
        lambda gpu: gpu.power_watts,
        1,
        40,
    ),
    Row("limit", _power("current_power_limit", "power_limit"), _limit("enforced"), 1, 0.5),
    Row("requested limit", _power("requested_power_limit"), _limit("requested"), 1, 0.5),
    Row("default limit", _power("default_power_limit"), _limit("default"), 1, 0.5),
    Row("least limit", _power("min_power_limit"), _limit("min"), 1, 0.5),
    Row("highest limit", _power("max_power_limit"), _limit("max"), 1, 0.5),
    Row("memory", ("fb_memory_usage/total",), _memory("total"), MIB, MIB),
    Row("reserved memory", ("fb_memory_usage/reserved",), _memory("reserved"), MIB, MIB),
    Row("used memory", ("fb_memory_usage/used",), _memory("used"), MIB, 64 * MIB),
    Row("utilization", ("utilization/gpu_util",), lambda gpu: gpu.utilization_ratio, 0.01, 0.5),
    Row("sm clock", ("clocks/sm_clock",), _clock("sm", highest=False), 1e6, 600e6),
    Row("memory clock", ("clocks/mem_clock",), _clock("memory", highest=False), 1e6, 9e9),
    Row("highest sm clock", ("max_clocks/sm_clock",), _clock("sm", highest=True), 1e6, 1e6),
    Row(
        "highest memory clock", ("max_clocks/mem_clock",), _clock("memory", highest=True), 1e6, 1e6
    ),
    Row(
        "pcie generation",
        (f"{LINK}/pcie_gen/max_link_gen",),
        lambda gpu: gpu.pcie_generation_max,
    ),
    Row("pcie width", (f"{LINK}/link_widths/max_link_width",), lambda gpu: gpu.pcie_width_max),
)


def cards(xml: str) -> Mapping[str, ElementTree.Element]:
    """Returns the cards of the XML by UUID."""
    found = ElementTree.fromstring(xml).findall("gpu")
    return {card.findtext("uuid", ""): card for card in found}


def differences(gpu: Gpu, card: ElementTree.Element) -> Iterator[str]:
    """Yields a sentence for each quantity that one has and the other has not, or has otherwise."""
    for row in ROWS:
        theirs, ours = _theirs(row, card), row.ours(gpu)
        if row.name == "memory" and gpu.memory_unified:
            continue
        if (theirs is None) != (ours is None) or not _same(row, theirs, ours):
            yield f"{row.name}: nvidia-smi {theirs!r}, llmagent {ours!r}"


def _theirs(row: Row, card: ElementTree.Element) -> Value:
    texts = [card.findtext(path) for path in row.paths]
    text = next((text.strip() for text in texts if text and text.strip() not in NOTHING), None)
    if text is None or not row.scale:
        return text
    number = re.search(r"-?\d+(?:\.\d+)?", text)
    return float(number[0]) * row.scale if number else None


def _same(row: Row, theirs: Value, ours: Value) -> bool:
    if not row.scale or theirs is None or ours is None:
        return theirs == ours
    return abs(float(theirs) - float(ours)) <= row.apart
