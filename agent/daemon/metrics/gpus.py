# SPDX-License-Identifier: Apache-2.0
"""The GPUs as metric families: `gpu` is NVML's index, `uuid` names the card for ever.

What a card does not give has no sample. When NVML was not asked for too long, only what is
remembered stays (a lost card, its Xids, its power limit's target), with the time of the last look.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from agent.core.gpu.reading import Driver, Gpu
from agent.core.view.gpus import GpusView, GpuView
from agent.daemon.metrics.cards import card_families
from agent.daemon.metrics.families import GPU_LABELS, Value, card_key, counter, gauge, info
from agent.daemon.metrics.readings import reading_families


def gpu_families(view: GpusView | None, services: frozenset[str]) -> Iterator[Metric]:
    """Yield every family; `services` are the units that llmagent looks after."""
    if view is None:
        return
    yield from _driver(view)
    yield from _presence(view)
    yield from card_families(view.gpus)
    now = tuple(one for one in view.gpus if not one.gpu.lost) if view.nvml_up else ()
    yield from reading_families(now)
    yield from _ecc(now)
    yield from _processes(now, services)


def _driver(view: GpusView) -> Iterator[Metric]:
    yield gauge("llmagent_nvml_up", "Whether NVML answers.", (), [((), view.nvml_up)])
    driver = view.driver
    if not driver.module_version:
        return
    yield info(
        "llmagent_driver",
        "The NVIDIA driver: the module that is loaded, the library and CUDA version on disk.",
        [_driver_labels(driver)],
    )
    yield gauge(
        "llmagent_driver_mismatch",
        "Whether library and loaded module differ, so that the next start of vLLM would fail.",
        (),
        [((), driver.mismatch)],
    )


def _driver_labels(driver: Driver) -> dict[str, str]:
    labels = {
        "driver_version": driver.module_version,
        "library_version": driver.library_version,
        "cuda_version": driver.cuda_version,
    }
    return {name: text for name, text in labels.items() if text}


def _presence(view: GpusView) -> Iterator[Metric]:
    cards = view.gpus
    yield info("llmagent_gpu", "What a GPU is.", [_about(one.gpu) for one in cards])
    yield gauge(
        "llmagent_gpu_expected",
        "GPUs that there are or were.",
        (),
        [((), float(len(cards) + view.nameless))],
    )
    there = sum(not one.gpu.lost for one in cards)
    yield gauge(
        "llmagent_gpu_visible",
        "GPUs that NVML can reach.",
        (),
        [((), float(there))] if view.nvml_up else (),
    )
    yield gauge(
        "llmagent_gpu_lost",
        "Whether a GPU has fallen off the bus or is not listed any more.",
        GPU_LABELS,
        [(card_key(one), one.gpu.lost) for one in cards if one.gpu.lost or view.nvml_up],
    )
    yield gauge(
        "llmagent_gpu_last_sample_timestamp_seconds",
        "When NVML was last asked about a GPU.",
        GPU_LABELS,
        [
            (card_key(one), view.sampled_seconds)
            for one in cards
            if view.sampled_seconds and not one.gpu.lost
        ],
    )


def _about(gpu: Gpu) -> dict[str, str]:
    labels = {
        "gpu": str(gpu.index),
        "uuid": gpu.uuid,
        "name": gpu.name,
        "pci_bus_id": gpu.pci_bus_id,
        "serial": gpu.serial,
        "vbios": gpu.vbios_version,
        "compute_capability": gpu.compute_capability,
    }
    return {name: text for name, text in labels.items() if text}


def _ecc(cards: tuple[GpuView, ...]) -> Iterator[Metric]:
    yield counter(
        "llmagent_gpu_ecc_errors",
        "ECC errors: volatile since the driver was loaded, aggregate of the card's life.",
        (*GPU_LABELS, "severity", "scope"),
        [
            ((*card_key(one), severity, scope), count)
            for one in cards
            for (severity, scope), count in one.gpu.ecc_errors.items()
        ],
    )


def _processes(cards: tuple[GpuView, ...], services: frozenset[str]) -> Iterator[Metric]:
    counts: list[Value] = []
    sizes: list[Value] = []
    for one in cards:
        if one.gpu.processes is None:
            continue
        for owner, ours in (("service", True), ("other", False)):
            owned = [p for p in one.gpu.processes if (p.unit in services) is ours]
            used = [p.used_bytes for p in owned if p.used_bytes is not None]
            counts.append(((*card_key(one), owner), float(len(owned))))
            if len(used) == len(owned):
                sizes.append(((*card_key(one), owner), float(sum(used))))
    labels = (*GPU_LABELS, "owner")
    yield gauge("llmagent_gpu_processes", "Compute processes on a GPU, by owner.", labels, counts)
    yield gauge(
        "llmagent_gpu_process_memory_bytes",
        "GPU memory of the compute processes, by owner.",
        labels,
        sizes,
    )
