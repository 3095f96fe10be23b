# SPDX-License-Identifier: Apache-2.0
"""Examines a host for what will fail now or tonight: reads, judges, changes nothing.

Each probe has its own thread and all share one deadline, so that a dead disk or a hub that does not
answer costs its own check only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from agent.core.doctor import card, container, driver, engine, host, model
from agent.core.doctor.bytecode import judge_bytecode
from agent.core.doctor.finding import Finding, skipped, unknown
from agent.core.doctor.limits import judge_limits
from agent.core.doctor.neighbours import (
    judge_dropped,
    judge_power_setters,
    judge_rivals,
    judge_unit_file,
)
from agent.core.doctor.sandbox import judge_sandbox
from agent.core.gpu.reading import Gpus
from agent.core.measures import GIB
from agent.core.planner.config_keys import NotAModelError
from agent.core.planner.model import model_of
from agent.core.planner.terms.formats import UnknownQuantizationError
from agent.core.planner.weights import counted
from agent.core.record import dataclass
from agent.core.settings.config import Config
from agent.core.settings.engine import GpuAccess
from agent.core.settings.service import Settings
from agent.core.unit.environment import environment_of
from agent.core.unit.openings import forbidden
from agent.core.unit.ray import ray_unit_name
from agent.errors import AgentError
from agent.host.models.config import read_model_config
from agent.host.models.known import known_config
from agent.host.probes import bytecode, containers, kernel, packages, services, toolchain
from agent.host.probes import model as files
from agent.host.probes.limits import limits
from agent.host.probes.runtimes.every import PROBES
from agent.host.vllm.install import install_of
from agent.places import UNIT_DIRECTORY
from agent.tasks.check_config import HelpReader, Severity, check_config

DEADLINE_SECONDS = 2.3

Probe = Callable[[], list[Finding]]


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined; `gpus` None when NVML was not asked, `hub` whether to ask the hub.

    `lost_gpus` are the cards that the daemon knows and cannot reach.
    """

    config: Config
    gpus: Gpus | None = None
    run_engine_help: HelpReader | None = None
    hub: bool = True
    lost_gpus: tuple[str, ...] = ()


def examine(patient: Patient, deadline_seconds: float = DEADLINE_SECONDS) -> tuple[Finding, ...]:
    """Return the findings in the order of the checks; a check that was too slow is unknown."""
    probes = dict(_probes(patient))
    results: dict[str, list[Finding]] = {}
    threads = [
        threading.Thread(target=_run, args=(name, probe, results), name=name, daemon=True)
        for name, probe in probes.items()
    ]
    for thread in threads:
        thread.start()
    end = time.monotonic() + deadline_seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    late = f"took longer than {deadline_seconds:g} s"
    answers = [results.get(name) or [unknown(name, late)] for name in probes]
    return tuple(finding for answer in answers for finding in answer)


def _run(name: str, probe: Probe, results: dict[str, list[Finding]]) -> None:
    try:
        results[name] = probe()
    except PermissionError as error:
        words = f"{error.filename or name}: {error.strerror or error}"
        results[name] = [unknown(name, words, "Run it as root.")]
    except (AgentError, ArithmeticError, AttributeError, LookupError, OSError) as error:
        results[name] = [unknown(name, f"could not be looked at: {error}")]
    except (RuntimeError, TypeError, ValueError) as error:
        results[name] = [unknown(name, f"holds what was not expected: {error}")]


def _probes(patient: Patient) -> Iterator[tuple[str, Probe]]:
    gpus = patient.gpus
    units = {policy.settings.unit for policy in patient.config.services.values()}
    # What was rendered before is ours too, whatever agent.toml says by now.
    rendered = units | {file.name for file in UNIT_DIRECTORY.glob("*.service")}
    own = frozenset(unit for unit in rendered if not services.foreign_unit_file(unit))
    yield "gpu", lambda: [_gpus(patient), card.judge_identity(gpus)]
    yield "driver", lambda: [driver.judge_mismatch(gpus)]
    yield "unattended-upgrades", lambda: [driver.judge_upgrades(packages.upgrades())]
    uptime = kernel.uptime_seconds
    yield "persistence-mode", lambda: [driver.judge_persistence(gpus, uptime())]
    yield "power-limit", lambda: [card.judge_power(patient.config.power, gpus)]
    setters = services.power_setters
    yield "power-setters", lambda: [judge_power_setters(setters(own), patient.config.power)]
    yield "fabric-manager", lambda: [_fabric(gpus)]
    yield "iommu", lambda: [_iommu(gpus)]
    yield "host-memory", lambda: [host.judge_memory(kernel.memory())]
    yield "time-sync", lambda: [host.judge_time(services.clock_is_synchronized())]
    yield "other-engines", lambda: [host.judge_engines(kernel.engines(own))]
    ports = frozenset(policy.settings.port for policy in patient.config.services.values())
    yield "conflicting-units", lambda: [judge_rivals(services.rivals(own), ports)]
    known = units | {ray for p in patient.config.services.values() for ray in _ray(p.settings)}
    dropped = sorted(u for u in own - known if not u.endswith("-fetch.service"))
    yield "unwatched-units", lambda: [judge_dropped(tuple(filter(services.is_active, dropped)))]
    yield "needrestart", lambda: [_needrestart()]
    for name, policy in patient.config.services.items():
        yield from _service_probes(name, policy.settings, patient)


def _ray(settings: Settings) -> Iterator[str]:
    """Yield the unit of Ray that a service over several hosts starts beside its own, if any."""
    if settings.cluster is not None and settings.cluster.starts_ray:
        yield ray_unit_name(settings)


def _gpus(patient: Patient) -> Finding:
    installs = [install_of(p.settings) for p in patient.config.services.values()]
    in_containers = (p.settings.engine for p in patient.config.services.values())
    needed = any(e.in_container and e.access is not GpuAccess.NONE for e in in_containers)
    needed = needed or any(toolchain.torch_cuda(install.read_paths) for install in installs)
    return driver.judge_gpus(patient.gpus, patient.lost_gpus, needed=needed)


def _fabric(gpus: Gpus | None) -> Finding:
    switches = kernel.nvswitches()
    if not switches:
        return host.judge_fabric(switches=0, running=None)
    running = services.is_active("nvidia-fabricmanager.service")
    driver_version = gpus.driver.module_version if gpus is not None else ""
    return host.judge_fabric(
        switches=switches,
        running=running,
        version=packages.fabric_manager(),
        driver=driver_version or "",
    )


def _iommu(gpus: Gpus | None) -> Finding:
    count = 0 if gpus is None else len(gpus.gpus)
    return host.judge_iommu(kernel.kernel_command_line(), count)


def _needrestart() -> Finding:
    installed, excluded = services.needrestart()
    return host.judge_needrestart(installed=installed, excluded=excluded)


def _service_probes(name: str, settings: Settings, patient: Patient) -> Iterator[tuple[str, Probe]]:
    if settings.engine.in_container:
        yield f"container runtime of {name}", lambda: [_runtime(settings)]
        yield f"container image of {name}", lambda: list(_image(settings, patient.gpus))
        yield f"container GPUs of {name}", lambda: [_gpu_access(settings, patient.gpus)]
    else:
        yield f"engine of {name}", lambda: list(_engine(settings, patient))
        yield f"bytecode of {name}", lambda: [_bytecode(settings)]
    yield f"model of {name}", lambda: list(_model(settings, patient))
    yield f"flags of {name}", lambda: [_flags(settings, patient)]
    yield f"licence of {name}", lambda: [_licence(settings, patient)]
    yield f"place of {name}", lambda: list(_place(settings, patient.gpus))
    if settings.cluster is not None:
        yield f"cluster of {name}", lambda: list(_cluster(settings))


def _cluster(settings: Settings) -> Iterator[Finding]:
    from agent.tasks.cluster.examine import examine_cluster  # for who serves with others: memory

    yield from examine_cluster(settings)


def _runtime(settings: Settings) -> Finding:
    runtime = settings.engine.runtime
    daemon = PROBES[runtime].daemon()
    version = services.runtime_version(runtime)
    return container.judge_runtime(settings.name, settings.engine, version, daemon)


def _image(settings: Settings, gpus: Gpus | None) -> Iterator[Finding]:
    engine_ = settings.engine
    image = PROBES[engine_.runtime].image(engine_.image or "")
    yield container.judge_image(settings.name, engine_, image)
    if image.cuda is not None and engine_.access is not GpuAccess.NONE:
        yield driver.judge_cuda(settings.name, image.cuda, None if gpus is None else gpus.driver)


def _gpu_access(settings: Settings, gpus: Gpus | None) -> Finding:
    return container.judge_gpu_access(
        settings.name,
        settings.engine,
        settings.gpus,
        containers.gpu_hook(),
        containers.cdi_specs(),
        None if gpus is None else gpus.driver,
    )


def _engine(settings: Settings, patient: Patient) -> Iterator[Finding]:
    install = install_of(settings)
    service, gpus = settings.name, patient.gpus
    yield engine.judge_install(service, install.version, settings.python, install.problems)
    if install.problems:
        return
    paths = install.read_paths
    cuda = toolchain.torch_cuda(paths)
    yield engine.judge_python(service, toolchain.python_version(paths))
    yield driver.judge_cuda(service, cuda, gpus.driver if gpus is not None else None)
    tools = toolchain.toolchain(settings.python, paths, settings.environment.get("PATH", ""))
    yield engine.judge_compiler(service, tools, cuda=cuda is not None)
    yield engine.judge_nvcc(service, tools, cuda=cuda is not None)


def _bytecode(settings: Settings) -> Finding:
    install = install_of(settings)
    version = toolchain.python_version(install.read_paths)
    if install.problems or version is None:
        return skipped("bytecode", "the engine's Python was not found", settings.name)
    given = bytecode.unit_environment(settings.unit) | dict(settings.environment)
    found = bytecode.bytecode(install.read_paths, version, given)
    return judge_bytecode(settings.name, settings.python, found)


def _model(settings: Settings, patient: Patient) -> Iterator[Finding]:
    home = environment_of(settings)["HF_HOME"]
    found = files.model_files(settings.model, settings.revision, home)
    yield model.judge_files(settings, found)
    yield model.judge_chat_template(settings, found)
    config = read_model_config(settings.model, settings.revision, home)
    if config is None:
        config = known_config(settings.model)
    quantization, needed = settings.quantization, None
    if config is not None:
        try:
            shape = model_of(config)
            needed = int(counted(shape, None, 1, 1).gib * GIB)
        except (NotAModelError, UnknownQuantizationError):
            needed = None
        own = config.get("quantization_config")
        if isinstance(own, dict):
            quantization = str(own.get("quant_method") or quantization or "")
    yield model.judge_room(settings, files.room(home), needed, found)
    yield card.judge_capability(settings, quantization, patient.gpus)


def _flags(settings: Settings, patient: Patient) -> Finding:
    only = Config(services={settings.name: patient.config.services[settings.name]})
    found = check_config(only, run_engine_help=patient.run_engine_help, gpus=patient.gpus)
    mistakes = tuple(str(f.text) for f in found if f.severity is Severity.ERROR)
    return engine.judge_flags(settings.name, mistakes)


def _licence(settings: Settings, patient: Patient) -> Finding:
    if settings.model.startswith("/") or not patient.hub:
        return model.judge_licence(settings, None)
    found = files.model_files(
        settings.model, settings.revision, environment_of(settings)["HF_HOME"]
    )
    if found.complete:
        return model.judge_licence(settings, None)
    endpoint = settings.environment.get("HF_ENDPOINT", "")
    answer = files.access(settings.model, settings.revision, settings.hf_token_file, endpoint)
    return model.judge_licence(settings, answer)


def _place(settings: Settings, gpus: Gpus | None) -> Iterator[Finding]:
    yield model.judge_token(settings, files.token(settings.hf_token_file))
    yield host.judge_shared_memory(settings, kernel.memory())
    if not settings.headless:
        yield host.judge_port(settings, kernel.listener(settings.port))
    yield judge_limits(settings, limits(settings.unit))
    yield judge_sandbox(settings, tuple(forbidden(settings)))
    foreign = services.foreign_unit_file(settings.unit)
    yield judge_unit_file(settings.name, settings.unit, foreign)
    journal = host.judge_journal(services.journal(UNIT_DIRECTORY / settings.unit))
    yield replace(journal, service=settings.name)
    yield card.judge_strangers(settings, gpus)
