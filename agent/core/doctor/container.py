# SPDX-License-Identifier: Apache-2.0
"""What a service in a container needs of the host: its runtime, its image and a way to the GPUs."""

from __future__ import annotations

import re

from agent.core.doctor.finding import Finding, fail, ok, skipped, unknown, warning
from agent.core.engine.runtimes.every import runtime_of
from agent.core.gpu.reading import Driver
from agent.core.record import dataclass
from agent.core.settings.engine import EngineSettings, GpuAccess

TOOLKIT = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit"
_NUMBER = re.compile(r"(?<!\d)(\d{1,9})\.(\d{1,9})")


@dataclass(frozen=True, slots=True)
class DockerDaemon:
    """docker's daemon: `version` of what answers, else `problem`; `closed`: to this user.

    `hangs`: it takes the question and does not answer. `cdi` tells whether it takes CDI devices,
    None where it does not say.
    """

    version: str = ""
    problem: str = ""
    closed: bool = False
    hangs: bool = False
    cdi: bool | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """An image on this host: `there` None when nobody could say, `cuda` as its environment has."""

    there: bool | None
    cuda: str | None = None


@dataclass(frozen=True, slots=True)
class CdiSpec:
    """A file that says how to put NVIDIA's GPUs into containers; `gone`: a file that it wants."""

    path: str
    devices: tuple[str, ...] = ()
    driver: str = ""
    gone: str = ""


def judge_runtime(
    service: str, engine: EngineSettings, version: str | None, daemon: DockerDaemon | None
) -> Finding:
    """Judge podman or docker; `version` None: does not answer, `daemon` None: it has none."""
    check, runtime = "container-runtime", runtime_of(engine)
    if version is None and daemon is not None and daemon.version:
        told = f"{runtime.name}'s daemon {daemon.version} answers, {runtime.program} does not"
        return fail(check, told, f"apt install {runtime.client_package}", service)
    if version is None:
        return fail(
            check, f"{runtime.name} does not answer", f"apt install {runtime.package}", service
        )
    found = _NUMBER.search(version)
    number = (int(found[1]), int(found[2])) if found else runtime.oldest
    if number < runtime.oldest:
        fix = f"Install {runtime.name} {'.'.join(map(str, runtime.oldest))} or newer."
        return fail(check, f"{version}: the unit needs options that it lacks", fix, service)
    if engine.access is GpuAccess.CDI and number < runtime.first_with_cdi:
        newer = f"{runtime.name} {runtime.first_with_cdi[0]}"
        fix = f'Install {newer} or newer, or set gpu_access = "gpus".'
        return fail(check, f"{version} knows no CDI devices", fix, service)
    if daemon is not None and daemon.closed:
        return unknown(check, f"{version}; {daemon.problem}", "Run it as root.", service)
    if daemon is not None and daemon.problem:
        fix = "systemctl enable --now docker; journalctl -u docker says why it ended."
        if daemon.hangs:
            fix = "systemctl restart docker; without live-restore that ends its containers."
        return fail(check, f"{version}; {daemon.problem}", fix, service)
    if engine.access is GpuAccess.CDI and daemon is not None and daemon.cdi is False:
        fix = '"features": {"cdi": true} in /etc/docker/daemon.json; systemctl restart docker'
        return fail(check, f"{version}: its daemon takes no CDI devices", fix, service)
    told = f", its daemon {daemon.version} answers" if daemon is not None else ""
    return ok(check, f"{version}{told}", service)


def judge_image(service: str, engine: EngineSettings, image: Image) -> Finding:
    """Judge whether a start finds the image."""
    check = "container-image"
    match image.there:
        case True:
            return ok(check, f"{engine.image} is on this host", service)
        case None:
            fix = "Run it as root."
            return unknown(check, f"{engine.runtime}'s images cannot be seen", fix, service)
    told = f"{engine.image} is not on this host"
    fix = f"{engine.runtime} pull {engine.image}"
    if engine.pull:
        return warning(
            check, f"{told}: the next start pulls it, for as long as it takes", fix, service
        )
    return fail(check, f"{told}, and a start does not pull (engine.pull)", fix, service)


def judge_gpu_access(
    service: str,
    engine: EngineSettings,
    gpus: tuple[str, ...],
    hook: str,
    specs: tuple[CdiSpec, ...],
    driver: Driver | None,
) -> Finding:
    """Judge the way of the GPUs into the container.

    `hook` is the program by which docker's --gpus works, "" for none; `specs` are CDI's files.
    """
    match engine.access:
        case GpuAccess.NONE | GpuAccess.AUTO:
            return skipped("container-gpus", "the service asks for none", service)
        case GpuAccess.GPUS if not hook:
            fix = f"Install nvidia-container-toolkit ({TOOLKIT}), restart docker."
            return fail("container-gpus", "docker's --gpus has no hook of NVIDIA", fix, service)
        case GpuAccess.GPUS:
            return ok("container-gpus", f"{hook} is there", service)
        case GpuAccess.CDI:
            return _judge_cdi(service, gpus, specs, driver)


def _judge_cdi(
    service: str, gpus: tuple[str, ...], specs: tuple[CdiSpec, ...], driver: Driver | None
) -> Finding:
    check = "container-gpus"
    if not specs:
        fix = f"Install nvidia-container-toolkit ({TOOLKIT}); {_generate('/etc/cdi/nvidia.yaml')}"
        return fail(check, "no file in /etc/cdi or /run/cdi describes the GPUs", fix, service)
    for spec in specs:
        fix = _generate(spec.path)
        loaded = driver.module_version if driver is not None else ""
        if spec.driver and loaded and spec.driver != loaded:
            told = f"{spec.path} is of driver {spec.driver}, {loaded} is loaded"
            return fail(check, told, fix, service)
        if spec.gone:
            told = f"{spec.path} wants {spec.gone}, which is not there"
            return fail(check, told, fix, service)
    known = {device for spec in specs for device in spec.devices}
    missing = [gpu for gpu in gpus if gpu not in known]
    if missing:
        told = f"{specs[0].path} has no device {missing[0]}"
        return fail(check, told, _generate(specs[0].path), service)
    return ok(check, f"{specs[0].path} describes the GPUs", service)


def _generate(path: str) -> str:
    return f"nvidia-ctk cdi generate --output={path}"
