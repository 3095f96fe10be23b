# SPDX-License-Identifier: Apache-2.0
"""What the doctor says of a host: each disease with its evidence and its cure."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.cli.doctor import human, is_well, json_of
from agent.cli.main import main
from agent.core.doctor import card, driver, engine, host, model
from agent.core.doctor.finding import Finding, Result, fail
from agent.core.doctor.limits import Limits, judge_limits
from agent.core.doctor.neighbours import (
    Rival,
    judge_dropped,
    judge_power_setters,
    judge_rivals,
    judge_unit_file,
)
from agent.core.gpu.reading import Driver, Gpu, GpuMemory, GpuProcess, Gpus, PowerLimits
from agent.core.settings.config import Config
from agent.core.settings.gpus import Power
from agent.core.settings.service import ServicePolicy, Settings
from agent.host.probes import kernel, toolchain
from agent.host.probes import model as files
from agent.tasks.examine import Patient, examine
from tests.given.cluster.two_hosts import of_two
from tests.given.fake_http import dribbles, raw, serving
from tests.rig.paths import REPO

GIB = 1024**3
VLLM = Settings("vllm", "meta-llama/Llama-3.1-8B-Instruct")
R = Result

COMMIT = "c0ffee" + "0" * 34


def a_4090(**changes: Any) -> Gpu:
    gpu = Gpu(
        0,
        "GPU-1",
        "NVIDIA GeForce RTX 4090",
        compute_capability="8.9",
        memory=GpuMemory(int(23.99 * GIB), 0, int(23.5 * GIB)),
        power_limits=PowerLimits(450, 450, 450, 150, 600),
        persistence_mode=True,
    )
    return replace(gpu, **changes)


def gpus(*cards: Gpu, **changes: Any) -> Gpus:
    known = Driver("580.82.07", "580.82.07", "580.82.07", "13.0")
    return Gpus(0.0, cards or (a_4090(),), replace(known, **changes))


def result_of(finding: Finding) -> Result:
    assert finding.evidence
    if finding.result in (R.FAIL, R.WARNING):
        assert finding.fix, f"{finding.check} names no cure"
    return finding.result


@pytest.mark.parametrize(
    ("cuda", "loaded", "expected"),
    [
        ("12.8", "570.133.20", R.OK),
        ("12.8", "535.183.01", R.WARNING),
        ("12.4", "470.57.02", R.FAIL),
        ("13.0", "575.51.03", R.FAIL),
        ("13.0", "580.82.07", R.OK),
        (None, "580.82.07", R.SKIPPED),
        ("12.8", "", R.UNKNOWN),
        ("99.0", "580.82.07", R.UNKNOWN),
    ],
)
def test_the_driver_is_compared_with_the_cuda_of_the_installed_torch(
    cuda: str | None, loaded: str, expected: Result
) -> None:
    assert result_of(driver.judge_cuda("vllm", cuda, Driver(module_version=loaded))) is expected


@pytest.mark.parametrize(
    ("library", "module", "installed", "expected"),
    [
        ("580.82.07", "580.82.07", "580.82.07", R.OK),
        ("580.95.05", "580.82.07", "580.95.05", R.FAIL),
        ("580.82.07", "580.82.07", "580.95.05", R.FAIL),
        ("", "580.82.07", "580.95.05", R.WARNING),
        ("", "", "", R.SKIPPED),
    ],
)
def test_a_driver_in_two_pieces_fails_at_the_next_start(
    library: str, module: str, installed: str, expected: Result
) -> None:
    seen = gpus(library_version=library, module_version=module, installed_module_version=installed)
    assert result_of(driver.judge_mismatch(seen)) is expected


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (None, R.UNKNOWN),
        (gpus(), R.OK),
        (gpus(problem="no libnvidia-ml.so.1"), R.FAIL),
        (Gpus(0.0), R.FAIL),
        (gpus(a_4090(lost=True)), R.FAIL),
        (gpus(a_4090(reset_required=True)), R.FAIL),
        (gpus(a_4090(recovery_action=2)), R.FAIL),
        (gpus(a_4090(row_remap_failed=True)), R.FAIL),
    ],
)
def test_a_card_that_is_not_well_is_named(seen: Gpus | None, expected: Result) -> None:
    assert result_of(driver.judge_gpus(seen, needed=True)) is expected


def test_a_card_that_fell_off_the_bus_fails_though_nvml_no_longer_counts_it() -> None:
    told = ("GPU 3 (NVIDIA H200)",)
    for seen, needed in [(gpus(a_4090()), True), (gpus(), False), (None, False)]:
        finding = driver.judge_gpus(seen, told, needed=needed)
        assert finding.result is R.FAIL
        assert finding.evidence.startswith("GPU 3 (NVIDIA H200): fallen off the bus")
    # NVML counts a card that it cannot name, and no daemon has known it.
    nameless = replace(gpus(a_4090()), nameless=(1,))
    assert driver.judge_gpus(nameless, needed=True).evidence.startswith("GPU 1: fallen off")


def test_a_host_without_a_gpu_is_well_where_no_engine_wants_one() -> None:
    assert result_of(driver.judge_gpus(None, needed=False)) is R.SKIPPED
    assert result_of(driver.judge_gpus(gpus(a_4090(lost=True)), needed=False)) is R.FAIL


def test_nvidia_packages_that_unattended_upgrades_may_replace_are_a_warning() -> None:
    open_ = driver.Upgrades(unattended=True, packages=("nvidia-driver", "libnvidia-ml1"))
    assert result_of(driver.judge_upgrades(open_)) is R.WARNING
    assert result_of(driver.judge_upgrades(driver.Upgrades(unattended=True))) is R.OK
    assert result_of(driver.judge_upgrades(driver.Upgrades())) is R.OK
    assert result_of(driver.judge_upgrades(None)) is R.SKIPPED


def test_persistence_mode_is_not_judged_just_after_boot() -> None:
    off = gpus(a_4090(persistence_mode=False))
    assert result_of(driver.judge_persistence(off, 30)) is R.OK
    assert result_of(driver.judge_persistence(off, 300)) is R.WARNING
    assert result_of(driver.judge_persistence(gpus(), 300)) is R.OK
    assert (
        result_of(driver.judge_persistence(gpus(a_4090(persistence_mode=None)), 300)) is R.SKIPPED
    )


@pytest.mark.parametrize(
    ("name", "gib", "expected"),
    [
        ("NVIDIA GeForce RTX 4090", 23.99, R.OK),
        ("NVIDIA GeForce RTX 4090", 15.99, R.WARNING),
        ("NVIDIA GeForce RTX 4090", 47.4, R.WARNING),
        ("NVIDIA L40S", 44.39, R.OK),
        ("NVIDIA L4", 22.0, R.OK),
        ("NVIDIA RTX 4000 Ada Generation", 19.99, R.OK),
        ("NVIDIA GeForce RTX 3090 Ti", 23.99, R.OK),
        ("NVIDIA H200", 139.8, R.OK),
        ("NVIDIA A100-SXM4-40GB", 39.5, R.OK),
        ("A card of tomorrow", 7.0, R.OK),
    ],
)
def test_a_relabelled_card_is_told_by_its_memory(name: str, gib: float, expected: Result) -> None:
    memory = GpuMemory(int(gib * GIB), 0, 0)
    assert result_of(card.judge_identity(gpus(a_4090(name=name, memory=memory)))) is expected


@pytest.mark.parametrize(
    ("capability", "quantization", "kv", "expected"),
    [
        ("8.9", "fp8", "fp8", R.OK),
        ("8.6", "fp8", None, R.WARNING),
        ("7.5", "fp8", None, R.FAIL),
        ("7.0", "awq_marlin", None, R.FAIL),
        ("7.5", None, "fp8", R.FAIL),
        ("8.0", "mxfp4", None, R.OK),
        (None, "fp8", None, R.UNKNOWN),
    ],
)
def test_the_weight_format_is_compared_with_what_the_card_computes(
    capability: str | None, quantization: str | None, kv: str | None, expected: Result
) -> None:
    settings = replace(VLLM, kv_cache_dtype=kv)
    seen = gpus(a_4090(compute_capability=capability))
    assert result_of(card.judge_capability(settings, quantization, seen)) is expected


def test_workers_that_are_rays_children_are_no_strangers() -> None:
    worker = GpuProcess(10, "ray::RayWorkerP", 20 * GIB, "vllm-ray.service")
    seen = gpus(a_4090(processes=(worker,)))
    over_ray = replace(VLLM, cluster=replace(of_two(0), ray_port=6379))
    assert over_ray.units == {"vllm.service", "vllm-ray.service"}
    assert result_of(card.judge_strangers(over_ray, seen)) is R.OK
    assert result_of(card.judge_strangers(VLLM, seen)) is R.WARNING, "another one's Ray"
    joins = replace(VLLM, cluster=replace(of_two(1), ray_port=6379))
    assert joins.units == {"vllm.service"}, "whose service is Ray itself"


def test_strangers_on_the_card_are_named_with_what_they_hold() -> None:
    mine = GpuProcess(10, "VLLM::EngineCor", 20 * GIB, "vllm.service")
    other = GpuProcess(4242, "ollama", 5 * GIB, "ollama.service")
    finding = card.judge_strangers(VLLM, gpus(a_4090(processes=(mine, other))))
    assert result_of(finding) is R.WARNING
    assert "ollama (pid 4242, 5.0 GiB on GPU 0)" in finding.evidence
    assert "VLLM" not in finding.evidence
    assert result_of(card.judge_strangers(VLLM, gpus(a_4090(processes=(mine,))))) is R.OK


def test_a_power_limit_is_compared_with_the_range_of_each_card() -> None:
    gb10 = a_4090(index=1, power_limits=PowerLimits())
    assert result_of(card.judge_power(capped(400), gpus())) is R.OK
    assert result_of(card.judge_power(capped(100), gpus())) is R.WARNING
    finding = card.judge_power(capped(400), gpus(a_4090(), gb10))
    assert finding.evidence == "GPU 1 has no power limit"
    assert result_of(card.judge_power(Power(), gpus())) is R.SKIPPED


def capped(watts: float) -> Power:
    return Power(limit_watts=watts)


def test_the_tools_that_kernels_are_compiled_with() -> None:
    none, gcc = engine.Toolchain(), engine.Toolchain("/usr/bin/gcc", "/usr/include/Python.h")
    assert result_of(engine.judge_compiler("vllm", none, cuda=True)) is R.FAIL
    half = engine.Toolchain("/usr/bin/gcc")
    assert "python3-dev" in engine.judge_compiler("vllm", half, cuda=True).fix
    assert result_of(engine.judge_compiler("vllm", gcc, cuda=True)) is R.OK
    assert result_of(engine.judge_compiler("vllm", none, cuda=False)) is R.SKIPPED
    flashinfer = replace(gcc, flashinfer=True)
    assert result_of(engine.judge_nvcc("vllm", flashinfer, cuda=True)) is R.WARNING
    assert (
        result_of(engine.judge_nvcc("vllm", replace(flashinfer, precompiled=True), cuda=True))
        is R.OK
    )
    assert result_of(engine.judge_nvcc("vllm", gcc, cuda=True)) is R.SKIPPED


def test_an_engine_that_is_missing_or_too_old_is_named() -> None:
    assert result_of(engine.judge_install("vllm", None, "/x", ())) is R.FAIL
    assert result_of(engine.judge_install("vllm", "0.5.4", "/x", ())) is R.WARNING
    assert result_of(engine.judge_install("vllm", "0.32.0", "/x", ())) is R.OK
    assert result_of(engine.judge_python("vllm", (3, 8))) is R.WARNING
    assert result_of(engine.judge_python("vllm", (3, 12))) is R.OK
    assert result_of(engine.judge_flags("vllm", ("--max-len is unknown",))) is R.FAIL


@pytest.mark.parametrize(
    ("name", "found", "expected"),
    [
        ("/srv/m", model.ModelFiles(), R.FAIL),
        ("a/b", model.ModelFiles(), R.WARNING),
        ("a/b", model.ModelFiles("/c", complete=False), R.WARNING),
        ("a/b", model.ModelFiles("/c", complete=True, size_bytes=GIB), R.OK),
        ("a/b", model.ModelFiles("/c", complete=True, stale=("x.incomplete",)), R.WARNING),
        ("a/b", model.ModelFiles("/c", complete=True, problem="x is missing"), R.FAIL),
    ],
)
def test_a_model_is_whole_or_it_is_said_what_it_lacks(
    name: str, found: model.ModelFiles, expected: Result
) -> None:
    assert result_of(model.judge_files(replace(VLLM, model=name), found)) is expected


def test_room_is_asked_for_only_while_the_model_is_still_to_come() -> None:
    small = model.Room("/var/cache", 10 * GIB, 100 * GIB)
    nothing, here = model.ModelFiles(), model.ModelFiles("/c", complete=True)
    assert result_of(model.judge_room(VLLM, small, 15 * GIB, nothing)) is R.FAIL
    assert result_of(model.judge_room(VLLM, small, 8 * GIB, nothing)) is R.WARNING
    assert result_of(model.judge_room(VLLM, small, 15 * GIB, here)) is R.OK
    assert (
        result_of(model.judge_room(VLLM, replace(small, free_bytes=GIB), None, here)) is R.WARNING
    )


@pytest.mark.parametrize("answer", [None, *model.Access])
def test_what_the_hub_says_of_the_licence(answer: model.Access | None) -> None:
    finding = model.judge_licence(VLLM, answer)
    permanent = {model.Access.GATED, model.Access.REFUSED, model.Access.MISSING}
    assert (result_of(finding) is R.FAIL) == (answer in permanent)


def test_a_gated_model_is_told_with_the_address_of_its_licence() -> None:
    finding = model.judge_licence(VLLM, model.Access.GATED)
    assert "https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct" in finding.fix


def test_a_port_that_somebody_else_has_is_told_with_who() -> None:
    stranger = host.Listener(77, "nginx", "nginx.service")
    finding = host.judge_port(VLLM, stranger)
    assert result_of(finding) is R.FAIL
    assert "nginx (pid 77) of nginx.service" in finding.evidence
    own = host.Listener(78, "python", "vllm.service")
    assert result_of(host.judge_port(VLLM, own)) is R.OK
    assert result_of(host.judge_port(VLLM, None)) is R.OK


def test_a_port_whose_process_cannot_be_seen_is_no_fault() -> None:
    """The agent looks at night, and the engine that serves is another user's process."""
    unseen = host.Listener(0, "a process that only root can see", "")
    assert result_of(host.judge_port(VLLM, unseen)) is R.UNKNOWN


def test_shared_memory_matters_with_more_than_one_gpu() -> None:
    tiny = host.HostMemory(shm_total=64 * 1024**2, shm_free=64 * 1024**2)
    two = replace(VLLM, tensor_parallel_size=2)
    assert result_of(host.judge_shared_memory(two, tiny)) is R.FAIL
    assert result_of(host.judge_shared_memory(VLLM, tiny)) is R.OK
    assert result_of(host.judge_shared_memory(VLLM, host.HostMemory())) is R.UNKNOWN


def test_the_rest_of_the_host() -> None:
    assert result_of(host.judge_memory(host.HostMemory(100, 2))) is R.WARNING
    assert result_of(host.judge_memory(host.HostMemory(100, 50, 10, 1))) is R.WARNING
    assert result_of(host.judge_memory(host.HostMemory(100, 50, 10, 10))) is R.OK
    assert result_of(host.judge_time(None)) is R.UNKNOWN
    assert result_of(host.judge_time(synchronized=False)) is R.WARNING
    assert result_of(host.judge_journal(host.Journal(False, 10_000, False))) is R.WARNING
    assert result_of(host.judge_journal(host.Journal(True, 500, True))) is R.WARNING
    assert result_of(host.judge_journal(host.Journal(True, 500, False))) is R.OK
    assert result_of(host.judge_engines((host.EngineProcess(9, "VLLM::Worker", ""),))) is R.WARNING
    assert result_of(host.judge_needrestart(installed=True, excluded=False)) is R.WARNING
    assert result_of(host.judge_needrestart(installed=True, excluded=True)) is R.OK
    assert result_of(host.judge_fabric(switches=4, running=False)) is R.FAIL
    assert result_of(host.judge_fabric(switches=4, running=True)) is R.OK
    assert result_of(host.judge_fabric(switches=0, running=None)) is R.SKIPPED
    assert result_of(host.judge_iommu("quiet intel_iommu=on", 2)) is R.WARNING
    assert result_of(host.judge_iommu("intel_iommu=on iommu=pt", 2)) is R.OK


# --- the probes, on this machine and on files ---


def test_who_listens_on_a_port_is_found_in_proc() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = kernel.listener(server.getsockname()[1])
        assert found is not None
        assert found.pid == os.getpid()
    assert kernel.listener(1) is None


def test_memory_is_read_in_bytes() -> None:
    seen = kernel.memory()
    assert GIB < seen.available <= seen.total
    assert seen.shm_total > 0


def a_site(tmp_path: Path) -> Path:
    place = tmp_path / "lib/python3.11/site-packages"
    (place / "torch").mkdir(parents=True)
    return place


def test_the_cuda_of_torch_is_read_without_importing_it(tmp_path: Path) -> None:
    place = a_site(tmp_path)
    version = place / "torch/version.py"
    version.write_text("__version__ = '2.9.0'\ncuda: Optional[str] = '12.8'\nhip = None\n")
    assert toolchain.torch_cuda((str(tmp_path), str(place))) == "12.8"
    version.write_text("__version__ = '2.9.0+cpu'\ncuda: Optional[str] = None\n")
    assert toolchain.torch_cuda((str(place),)) is None
    assert toolchain.python_version((str(place),)) == (3, 11)


def test_flashinfer_and_its_kernels_are_seen(tmp_path: Path) -> None:
    place = a_site(tmp_path)
    (place / "flashinfer_python-0.4.dist-info").mkdir()
    tools = toolchain.toolchain(f"{tmp_path}/bin/python", (str(place),), path="/nowhere")
    assert tools.flashinfer
    assert not tools.precompiled
    assert not tools.compiler
    (place / "flashinfer_jit_cache-0.4.dist-info").mkdir()
    assert toolchain.toolchain("/x", (str(place),)).precompiled


def a_snapshot(tmp_path: Path, **parts: bytes) -> Path:
    cache = tmp_path / "hub/models--a--b"
    snapshot = cache / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "refs/main").write_text(COMMIT)
    (cache / "blobs").mkdir()
    (snapshot / "config.json").write_text("{}")
    for name, content in parts.items():
        (snapshot / f"{name}.safetensors").write_bytes(content)
    return snapshot


def tensor(size: int, there: int | None = None) -> bytes:
    header = json.dumps({"w": {"data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + b"\0" * (size if there is None else there)


def test_the_files_of_a_model_are_looked_at_by_header_and_index(tmp_path: Path) -> None:
    snapshot = a_snapshot(tmp_path, one=tensor(100), two=tensor(50))
    index = snapshot / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}))
    (snapshot / "tokenizer_config.json").write_text('{"chat_template": "{{ x }}"}')
    found = files.model_files("a/b", None, str(tmp_path))
    assert found.complete
    assert not found.problem
    assert found.chat_template
    (snapshot / "two.safetensors").write_bytes(tensor(50, there=49))
    assert "two.safetensors" in files.model_files("a/b", None, str(tmp_path)).problem
    (snapshot / "two.safetensors").unlink()
    assert "two.safetensors is missing" in files.model_files("a/b", None, str(tmp_path)).problem


def test_what_an_ended_download_left_is_stale_after_a_day(tmp_path: Path) -> None:
    blobs = a_snapshot(tmp_path, one=tensor(1)).parents[1] / "blobs"
    (blobs / "abc.incomplete").write_bytes(b"x")
    assert files.model_files("a/b", None, str(tmp_path)).stale == ()
    os.utime(blobs / "abc.incomplete", (1, 1))
    assert files.model_files("a/b", None, str(tmp_path)).stale == ("abc.incomplete",)


@pytest.mark.parametrize(
    "damage", [b"", b"\xff" * 30, b"\x02\0\0\0\0\0\0\0[]", b"\x02\0\0\0\0\0\0\0{}"]
)
def test_no_file_makes_the_doctor_fall_over(tmp_path: Path, damage: bytes) -> None:
    snapshot = a_snapshot(tmp_path, one=damage)
    (snapshot / "tokenizer_config.json").write_bytes(damage)
    (snapshot / "model.safetensors.index.json").write_bytes(damage)
    files.model_files("a/b", None, str(tmp_path))


def test_a_token_is_looked_at_and_never_kept(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hf_abcdefghijklmnop\n")
    file.chmod(0o600)
    seen = files.token(str(file))
    assert seen is not None
    assert seen.looks_right
    assert "abcdefgh" not in repr(seen)
    assert files.token("/nowhere") == model.Token("/nowhere", readable=False)
    assert files.token(None) is None


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (200, {}, model.Access.GRANTED),
        (307, {"Location": "/x"}, model.Access.GRANTED),
        (403, {"X-Error-Code": "GatedRepo"}, model.Access.GATED),
        (401, {"X-Error-Code": "GatedRepo"}, model.Access.GATED),
        (401, {}, model.Access.REFUSED),
        (404, {"X-Error-Code": "RepoNotFound"}, model.Access.MISSING),
        (503, {}, model.Access.UNREACHABLE),
    ],
)
def test_the_hub_is_asked_as_the_first_start_will(
    status: int, headers: dict[str, str], expected: model.Access
) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with serving() as server:
        answer = f"HTTP/1.1 {status} X\r\n{lines}Content-Length: 0\r\n\r\n"
        server.replies["HEAD /a/b/resolve/main/config.json"] = raw(answer.encode())
        assert files.access("a/b", None, None, server.url) is expected


def test_a_hub_that_is_not_there_is_unreachable() -> None:
    assert files.access("a/b", None, None, "http://127.0.0.1:9") is model.Access.UNREACHABLE


# --- all of it ---


def test_a_host_without_anything_is_examined_without_falling_over() -> None:
    config = Config(services={"vllm": ServicePolicy(replace(VLLM, python="/nowhere/python"))})
    findings = examine(Patient(config, hub=False))
    names = [f.check for f in findings]
    assert {"gpu", "vllm", "port", "disk", "journal", "other-engines"} <= set(names)
    assert not is_well(findings), "there is no vLLM"
    document = json.loads(json_of(findings))
    assert document["ok"] is False
    assert {f["result"] for f in document["findings"]} <= set(Result)


def test_a_probe_that_hangs_costs_its_own_check_only() -> None:
    with serving() as server:
        path = f"HEAD /{VLLM.model}/resolve/main/config.json"
        server.replies[path] = dribbles(server, b"HTTP/1.1 200 OK\r\n", b"X: y\r\n")
        slow = replace(VLLM, environment={"HF_ENDPOINT": server.url, "HF_HOME": "/nowhere"})
        config = Config(services={"vllm": ServicePolicy(slow)})
        findings = {f.check: f for f in examine(Patient(config), deadline_seconds=1.5)}
    assert "took longer" in findings["licence of vllm"].evidence
    assert findings["licence of vllm"].result is R.UNKNOWN
    assert findings["host-memory"].result is not R.UNKNOWN
    assert "vllm" in findings


def test_what_fails_comes_first_with_its_cure_below() -> None:
    text = human(
        [driver.judge_mismatch(gpus()), fail("port", "taken", "stop it", "vllm")],
        colour=False,
        everything=False,
    )
    assert text.splitlines() == [
        "FAIL port (vllm): taken",
        "     -> stop it",
        "ok   driver-in-one-piece: module and library are 580.82.07",
        "1 ok, 1 fail",
    ]


def test_an_engine_of_somebody_else_comes_with_the_line_that_takes_it_in() -> None:
    box = "4f" * 32
    finding = host.judge_engines(
        (
            host.EngineProcess(7, "VLLM::EngineCore", "old.service"),
            host.EngineProcess(6, "python3", "old.service"),
            host.EngineProcess(8, "python3", f"docker-{box}.scope"),
            host.EngineProcess(9, "python3", "session-3.scope"),
        )
    )
    for name in ("old.service", box[:12], "9"):
        assert f"`llmagent import {name}`" in finding.fix
    assert finding.fix.count("llmagent import") == 3
    rival = judge_rivals((Rival("my-vllm.service", "vllm"),), frozenset())
    assert "`llmagent import my-vllm.service`" in rival.fix


def test_a_unit_that_agent_toml_has_dropped_and_that_runs_is_named_with_both_ways_out() -> None:
    assert result_of(judge_dropped(())) is R.OK
    finding = judge_dropped(("old.service", "vllm.service"))
    assert result_of(finding) is R.WARNING
    assert "old.service, vllm.service runs" in finding.evidence
    assert "[service.old], [service.vllm]" in finding.fix
    assert "systemctl disable --now old vllm" in finding.fix


def test_a_rival_for_the_port_makes_the_next_boot_fail_and_another_engine_only_warns() -> None:
    mine = frozenset({8000})
    on_port = Rival("my-vllm.service", "vllm", frozenset({8000}))
    apart = Rival("ollama.service", "ollama")
    assert result_of(judge_rivals((), mine)) is R.OK
    assert result_of(judge_rivals((apart,), mine)) is R.WARNING
    finding = judge_rivals((apart, on_port), mine)
    assert result_of(finding) is R.FAIL
    assert "8000" in finding.evidence
    assert "systemctl disable --now ollama.service my-vllm.service" in finding.fix


def test_a_unit_file_of_somebody_else_and_another_setter_of_power_are_named() -> None:
    assert result_of(judge_unit_file("vllm", "vllm.service", "")) is R.OK
    other = judge_unit_file("vllm", "vllm.service", "/etc/systemd/system/vllm.service")
    assert result_of(other) is R.WARNING
    assert "/etc/systemd/system/vllm.service" in other.fix
    asked = capped(400)
    assert result_of(judge_power_setters(("gpu-power.service",), Power())) is R.SKIPPED
    assert result_of(judge_power_setters((), asked)) is R.OK
    assert result_of(judge_power_setters(("gpu-power.service",), asked)) is R.WARNING


@pytest.mark.parametrize(
    ("gpus_used", "limits", "expected"),
    [
        (1, None, R.UNKNOWN),
        (1, Limits(ceiling=1_048_576), R.OK),
        (1, Limits(loaded=True, files=1024, ceiling=1_048_576), R.WARNING),
        (1, Limits(ceiling=4096), R.WARNING),
        (1, Limits(ceiling=1_048_576, open_files=95, most_files=100), R.WARNING),
        (1, Limits(loaded=True, locked_bytes=65536, ceiling=1_048_576), R.OK),
        (2, Limits(loaded=True, locked_bytes=65536, ceiling=1_048_576), R.WARNING),
        (1, Limits(loaded=True, tasks=512, ceiling=1_048_576), R.WARNING),
    ],
)
def test_limits_matter_as_the_engine_uses_them(
    gpus_used: int, limits: Limits | None, expected: Result
) -> None:
    settings = replace(VLLM, tensor_parallel_size=gpus_used)
    assert result_of(judge_limits(settings, limits)) is expected


def test_a_fabric_manager_of_another_version_fails_at_its_next_start() -> None:
    def judged(version: str) -> Result:
        found = host.judge_fabric(switches=4, running=True, version=version, driver="580.65.06")
        return result_of(found)

    assert judged("570.133.20") is R.FAIL
    assert judged("580.65.06") is R.OK
    assert judged("") is R.OK


def test_a_reboot_by_unattended_upgrades_is_told_before_the_night() -> None:
    finding = driver.judge_upgrades(driver.Upgrades(unattended=True, reboots_at="02:00"))
    assert result_of(finding) is R.WARNING
    assert "02:00" in finding.evidence


def test_a_local_folder_that_is_half_there_fails_and_says_what_it_lacks(tmp_path: Path) -> None:
    def judged(**files_here: str) -> Finding:
        for name, text in files_here.items():
            (tmp_path / name.replace("__", ".")).write_text(text)
        found = files.model_files(str(tmp_path), None, "")
        return model.judge_files(replace(VLLM, model=str(tmp_path)), found)

    assert "config.json" in judged().evidence
    assert "weights" in judged(config__json="{}").evidence
    parts = judged(**{"pytorch_model-00001-of-00003__bin": "x"})
    assert "1 of 3 parts" in parts.evidence
    assert "names no weights" in judged(model__safetensors__index__json="[]").evidence
    broken = judged(config__json="{")
    assert "not JSON" in broken.evidence
    assert {result_of(finding) for finding in (parts, broken)} == {R.FAIL}


def test_weights_without_a_tokenizer_are_a_warning_unless_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"\x02" + 7 * b"\0" + b"{}")
    local = replace(VLLM, model=str(tmp_path))
    found = files.model_files(str(tmp_path), None, "")
    assert "no tokenizer" in model.judge_files(local, found).evidence
    assert result_of(model.judge_files(local, found)) is R.WARNING
    assert result_of(model.judge_files(replace(local, tokenizer="a/b"), found)) is R.OK


def test_what_is_still_to_come_of_a_download_needs_room() -> None:
    half = model.ModelFiles("/c", complete=False, size_bytes=10 * GIB)
    room = model.Room("/c", 12 * GIB, 100 * GIB)
    assert result_of(model.judge_room(VLLM, room, 30 * GIB, half)) is R.FAIL
    assert result_of(model.judge_room(VLLM, room, 16 * GIB, half)) is R.OK


def test_a_host_without_agent_toml_is_examined_all_the_same(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    missing = tmp_path / "agent.toml"
    status = main(["doctor", "--offline", "--format", "json", "--config", str(missing)])
    document = json.loads(capsys.readouterr().out)
    results = {row["check"]: row["result"] for row in document["findings"]}
    assert status == 1
    assert results["configuration"] == "fail"
    assert "host-memory" in results


def test_needrestart_is_told_to_leave_every_engine_alone() -> None:
    shipped = (REPO / "etc/needrestart/llmagent.conf").read_text()
    assert "$nrconf{override_rc}{qr(^vllm)} = 0;" in shipped
    assert "/etc/llmagent/units/*.service" in shipped
    installed = (REPO / "packaging/debian/llmagent.install").read_text()
    assert "etc/needrestart/llmagent.conf etc/needrestart/conf.d" in installed


def test_what_only_root_may_read_is_unknown_and_never_a_failure() -> None:
    denied = "/opt/vllm/bin/python cannot be read: Permission denied; run as root"
    assert result_of(engine.judge_install("vllm", None, "/x", (denied,))) is R.UNKNOWN
    assert result_of(engine.judge_flags("vllm", (denied,))) is R.UNKNOWN
    assert result_of(engine.judge_flags("vllm", (denied, "--frob is unknown"))) is R.FAIL
    hidden = model.Token("/etc/llmagent/hf_token", readable=False, denied=True)
    assert result_of(model.judge_token(VLLM, hidden)) is R.UNKNOWN
