# SPDX-License-Identifier: Apache-2.0
"""The GPUs as metric families: `gpu` is NVML's index, `uuid` names the card for ever.

What a card does not give has no sample. When NVML was not asked for too long, only what is
remembered stays (a lost card, its Xids, its power limit's target), with the time of the last look.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from agent.core.gpu.reading import Driver, Gpu, GpuProcess
from agent.core.view.gpus import GpusView, GpuView
from agent.daemon.metrics.cards import CARDS
from agent.daemon.metrics.families import (
    GPU_LABELS,
    Row,
    Value,
    card_key,
    families,
    gauge,
    gauges,
    info,
)
from agent.daemon.metrics.readings import READINGS


def gpu_families(view: GpusView | None, services: frozenset[str]) -> Iterator[Metric]:
    """Yield every family; `services` are the units that llmagent looks after."""
    if view is None:
        return
    yield from families(NVML, [((), view)])
    if view.driver.module_version:
        yield info(
            "llmagent_driver",
            "The NVIDIA driver: the module that is loaded, the library and CUDA version on disk.",
            [_driver_labels(view.driver)],
        )
        yield from families(DRIVER, [((), view.driver)])
    yield info("llmagent_gpu", "What a GPU is.", [_about(one.gpu) for one in view.gpus])
    yield from families(PRESENCE, [((), view)])
    yield from families(CARDS, _keyed(view.gpus), GPU_LABELS)
    now = tuple(one for one in view.gpus if not one.gpu.lost) if view.nvml_up else ()
    yield from families(READINGS, _keyed(now), GPU_LABELS)
    held = [(card_key(one), (one, services)) for one in now]
    yield from families(PROCESSES, held, GPU_LABELS)


def _keyed(cards: tuple[GpuView, ...]) -> list[tuple[tuple[str, ...], GpuView]]:
    return [(card_key(one), one) for one in cards]


def _driver_labels(driver: Driver) -> dict[str, str]:
    labels = {
        "driver_version": driver.module_version,
        "library_version": driver.library_version,
        "cuda_version": driver.cuda_version,
    }
    return {name: text for name, text in labels.items() if text}


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


def _sampled(view: GpusView) -> Iterator[Value]:
    for one in view.gpus:
        if view.sampled_seconds and not one.gpu.lost:
            yield card_key(one), view.sampled_seconds


def _owned(of: tuple[GpuView, frozenset[str]]) -> Iterator[tuple[str, list[GpuProcess]]]:
    view, services = of
    if view.gpu.processes is None:
        return
    for owner, ours in (("service", True), ("other", False)):
        yield owner, [p for p in view.gpu.processes if (p.unit in services) is ours]


def _sizes(of: tuple[GpuView, frozenset[str]]) -> Iterator[Value]:
    """Yield what each owner's processes use together, where it is known of all of them."""
    for owner, processes in _owned(of):
        used = [p.used_bytes for p in processes if p.used_bytes is not None]
        if len(used) == len(processes):
            yield (owner,), sum(used)


NVML: tuple[Row[GpusView], ...] = (
    gauge("llmagent_nvml_up", "Whether NVML answers.", lambda view: view.nvml_up),
)

DRIVER: tuple[Row[Driver], ...] = (
    gauge(
        "llmagent_driver_mismatch",
        "Whether library and loaded module differ, so that the next start of vLLM would fail.",
        lambda driver: driver.mismatch,
    ),
)

PRESENCE: tuple[Row[GpusView], ...] = (
    gauge(
        "llmagent_gpu_expected",
        "GPUs that there are or were.",
        lambda view: len(view.gpus) + view.nameless,
    ),
    gauge(
        "llmagent_gpu_visible",
        "GPUs that NVML can reach.",
        lambda view: sum(not one.gpu.lost for one in view.gpus) if view.nvml_up else None,
    ),
    gauges(
        "llmagent_gpu_lost",
        "Whether a GPU has fallen off the bus or is not listed any more.",
        GPU_LABELS,
        lambda view: [
            (card_key(one), one.gpu.lost) for one in view.gpus if one.gpu.lost or view.nvml_up
        ],
    ),
    gauges(
        "llmagent_gpu_last_sample_timestamp_seconds",
        "When NVML was last asked about a GPU.",
        GPU_LABELS,
        _sampled,
    ),
)

PROCESSES: tuple[Row[tuple[GpuView, frozenset[str]]], ...] = (
    gauges(
        "llmagent_gpu_processes",
        "Compute processes on a GPU, by owner.",
        ("owner",),
        lambda of: [((owner,), len(processes)) for owner, processes in _owned(of)],
    ),
    gauges(
        "llmagent_gpu_process_memory_bytes",
        "GPU memory of the compute processes, by owner.",
        ("owner",),
        _sizes,
    ),
)
"""Of a card and the units that llmagent looks after."""
