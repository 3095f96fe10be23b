# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import subprocess
from dataclasses import fields, replace

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from agent.core.gpu.reading import Driver, Gpu, Gpus
from agent.core.view.gpus import GpusView, view_of_gpus
from agent.core.view.snapshot import Snapshot
from agent.daemon.metrics.collector import SnapshotCollector
from tests.given.some_gpus import CARDS, GB10, GIB, H200, some_gpus
from tests.given.some_host import HOST
from tests.given.some_snapshot import SNAPSHOT
from tests.unit.daemon.exporter.test_exporter import Samples, of, samples


def text(view: GpusView | None, snapshot: Snapshot = SNAPSHOT) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(lambda: replace(snapshot, gpus=view)))
    return generate_latest(registry)


def scrape(view: GpusView | None) -> Samples:
    return samples(text(view).decode())


def names(found: Samples) -> set[str]:
    return {name for name, _ in found if "gpu" in name}


def of_card(found: Samples, name: str, card: Gpu, **labels: str) -> float | None:
    return of(found, f"llmagent_gpu_{name}", gpu=str(card.index), uuid=card.uuid, **labels)


def test_a_card_that_gives_everything_shows_everything_in_base_units() -> None:
    found = scrape(some_gpus())
    assert of_card(found, "temperature_celsius", H200) == 61
    assert of_card(found, "power_watts", H200, window="average") == 512.5
    assert of_card(found, "power_watts", H200, window="instant") == 540
    assert of_card(found, "power_limit_watts", H200, kind="enforced") == 600
    assert of_card(found, "energy_joules_total", H200) == 123456.5
    assert of_card(found, "clock_hertz", H200, domain="sm") == 1.5e9
    assert of_card(found, "clock_event_seconds_total", H200, reason="sw_power_cap") == 204.6
    assert of_card(found, "memory_bytes", H200, state="reserved") == GIB
    assert of_card(found, "utilization_ratio", H200) == 0.97
    ecc = {"severity": "corrected", "scope": "volatile"}
    assert of_card(found, "ecc_errors_total", H200, **ecc) == 3


def test_each_clock_event_is_a_series_by_nvmls_name() -> None:
    found = scrape(some_gpus())
    active = {
        dict(labels)["reason"]: value
        for (name, labels), value in found.items()
        if name == "llmagent_gpu_clock_event_active" and dict(labels)["gpu"] == "0"
    }
    assert {reason for reason, value in active.items() if value} == {
        "sw_power_cap",
        "sw_thermal_slowdown",
    }
    assert len(active) == 9


def test_what_a_card_does_not_give_is_absent() -> None:
    found = scrape(some_gpus())
    assert of_card(found, "temperature_celsius", GB10) == 38
    assert of_card(found, "memory_unified", GB10) == 1
    shown = {name for name, labels in found if dict(labels).get("uuid") == GB10.uuid}
    for absent in ("power_watts", "power_limit_watts", "fan_speed_ratio", "thermal_margin_celsius"):
        assert f"llmagent_gpu_{absent}" not in shown


def test_no_series_says_that_a_value_is_missing() -> None:
    bare = Gpu(0, "GPU-cc")
    values = [value for (name, _), value in scrape(some_gpus(bare)).items() if "gpu" in name]
    assert values
    assert not any(math.isnan(value) or value < 0 for value in values)


@given(st.sets(st.sampled_from([f.name for f in fields(Gpu)])))
def test_whatever_is_missing_nothing_else_goes(lacking: set[str]) -> None:
    """A value that a card lacks takes away its own series and no other's."""
    bare = Gpu(0, H200.uuid)
    lacking -= {"index", "uuid"}
    without = replace(H200, **{name: getattr(bare, name) for name in lacking})
    whole, part = scrape(some_gpus(H200)), scrape(some_gpus(without))
    assert part.keys() - whole.keys() <= {key for key in part if key[0] == "llmagent_gpu_info"}
    gone = {name for name, _ in whole.keys() - part.keys()} - {"llmagent_gpu_info"}
    assert bool(gone) <= bool(lacking)


def test_processes_are_counted_by_owner_and_never_named() -> None:
    found = scrape(some_gpus())
    assert of_card(found, "processes", H200, owner="service") == 1
    assert of_card(found, "processes", H200, owner="other") == 1
    assert of_card(found, "process_memory_bytes", H200, owner="service") == 118 * GIB
    assert of_card(found, "processes", GB10, owner="other") == 0
    assert b"4711" not in text(some_gpus())
    assert b"EngineCore" not in text(some_gpus())


def test_a_lost_card_keeps_one_series_that_says_so() -> None:
    found = scrape(some_gpus(replace(H200, lost=True), GB10))
    assert of_card(found, "lost", H200) == 1
    assert of_card(found, "temperature_celsius", H200) is None
    assert of_card(found, "temperature_celsius", GB10) == 38
    assert of(found, "llmagent_gpu_visible") == 1
    assert of(found, "llmagent_gpu_expected") == 2


def test_a_card_that_is_not_listed_any_more_is_lost_too() -> None:
    found = scrape(some_gpus(GB10))
    assert of_card(found, "lost", H200) == 1
    assert of_card(found, "lost", GB10) == 0


def test_without_a_driver_only_what_is_remembered_is_told() -> None:
    view = view_of_gpus(
        Gpus(1049.0, (), Driver(problem="no driver")), CARDS, {}, stale=False, ahead_seconds=0
    )
    found = scrape(view)
    assert of(found, "llmagent_nvml_up") == 0
    assert of(found, "llmagent_gpu_visible") is None
    assert of(found, "llmagent_gpu_expected") == 2
    for gone in ("lost", "reset_required", "memory_unified", "temperature_celsius"):
        assert of_card(found, gone, H200) is None


def test_numbers_that_are_too_old_go_and_the_time_of_the_last_look_stays() -> None:
    found = scrape(some_gpus(stale=True))
    assert of_card(found, "last_sample_timestamp_seconds", H200) == 1049
    assert of(found, "llmagent_nvml_up") == 0
    for gone in ("temperature_celsius", "utilization_ratio", "lost", "energy_joules_total"):
        assert of_card(found, gone, H200) is None
    assert of_card(found, "xid_errors_total", H200, xid="13") == 4


def test_what_is_remembered_of_a_card_is_told() -> None:
    found = scrape(some_gpus())
    assert of_card(found, "power_limit_target_watts", H200) == 600
    assert of_card(found, "power_limit_target_watts", GB10) is None
    assert of_card(found, "power_limit_reasserts_total", H200, cause="driver_reload") == 2
    assert of_card(found, "power_limit_state", H200, state="in-force") == 1
    assert of_card(found, "heat_level", H200, level="warning") == 1
    assert of_card(found, "heat_level", H200, level="critical") == 0
    assert of_card(found, "xid_last_timestamp_seconds", H200, xid="13") == 1000


def test_names_are_on_info_metrics_only() -> None:
    found = scrape(some_gpus())
    for name, labels in found:
        if name.startswith("llmagent_gpu_") and name != "llmagent_gpu_info":
            assert "name" not in dict(labels)
    about = [dict(labels) for name, labels in found if name == "llmagent_gpu_info"]
    assert {"gpu": "1", "uuid": "GPU-bb", "name": "NVIDIA GB10"} in about
    assert of(
        found,
        "llmagent_driver_info",
        driver_version="580.95",
        library_version="580.95",
        cuda_version="13.0",
    )


def test_a_library_that_is_newer_than_the_module_is_a_mismatch() -> None:
    newer = Driver(library_version="590.1", module_version="580.95")
    assert of(scrape(some_gpus(driver=newer)), "llmagent_driver_mismatch") == 1
    assert of(scrape(some_gpus()), "llmagent_driver_mismatch") == 0
    assert of(scrape(some_gpus(driver=Driver())), "llmagent_driver_mismatch") is None


def test_a_host_without_gpus_has_no_gpu_metrics() -> None:
    assert names(scrape(None)) == set()


def test_promtool_finds_nothing_to_complain_about() -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=text(some_gpus(), replace(SNAPSHOT, host=HOST)),
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
