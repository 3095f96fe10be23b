# SPDX-License-Identifier: Apache-2.0
"""What of a valid configuration this host cannot do, found without starting anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path

from agent.core.command.parallel import spans_hosts
from agent.core.command.picture import picture_of
from agent.core.engine.command_line import command_line
from agent.core.engine.defaults import default_utilization, forces_slow_kernel
from agent.core.engine.flags import parse_help, unknown_by_version, unknown_flags
from agent.core.engine.install import Engine, EngineInstall
from agent.core.gpu.reading import Gpus
from agent.core.record import dataclass
from agent.core.settings.config import Config, Metrics
from agent.core.settings.gpus import Power
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.unit.openings import forbidden
from agent.core.unit.sandbox import opens
from agent.errors import HostLacksError
from agent.host.machine.access import (
    exists,
    file_facts,
    first_unreadable,
    first_unreadable_below,
    user_id,
)
from agent.host.vllm.install import install_of, version_of
from agent.places import UNIT_DIRECTORY
from agent.tasks.check_access import (
    SECRETS,
    exposure,
    key_mistakes,
    prompts_in_the_journal,
    secret_files,
)
from agent.tasks.check_command import mistakes_in_arguments, values_refused
from agent.tasks.check_container import missing_ranges, strict_leaves_open
from agent.tasks.check_notify import what_keeps_from_telling
from agent.tasks.check_port import lowest_port, taken_port
from agent.tasks.check_values import gpus_that_are_not_there, what_cannot_be
from agent.tasks.fleet.check_fleet import what_keeps_from_asking

HelpReader = Callable[[EngineInstall, str], str]
"""Takes the install and the user to run it as; returns vLLM's help or raises HostLacksError."""

UNIT_DIRECTORIES = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
TIGHT_UTILIZATION = 0.97


class Severity(StrEnum):
    """Whether the service cannot work, or works but not as one would wish."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One thing to know: `path` leads to the key, `text` says what is so and what to do."""

    path: str
    severity: Severity
    text: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.path}: {self.text}"


def check_config(
    config: Config, *, run_engine_help: HelpReader | None, gpus: Gpus | None = None
) -> tuple[Obstacle, ...]:
    """Compare a configuration with the host; without a reader of vLLM's help, by version only.

    Without a look at the GPUs every index and UUID is taken for one.
    """
    findings: list[Obstacle] = []
    for policy in config.services.values():
        findings += _service(policy.settings, run_engine_help)
        findings += _peers(policy, config.power)
        findings += (
            _error(f"service.{policy.settings.name}.gpus", sentence)
            for sentence in gpus_that_are_not_there(policy.settings, gpus)
        )
    findings += _metrics(config.metrics)
    findings += _heard_by_peers(config)
    for key, certain, sentence in what_keeps_from_telling(config.notify):
        findings.append((_error if certain else _warning)(f"notify.{key}", sentence))
    for key, certain, sentence in what_keeps_from_asking(config.fleet):
        findings.append((_error if certain else _warning)(f"fleet.{key}", sentence))
    findings += _shared_memory([policy.settings for policy in config.services.values()])
    return tuple(findings)


def _peers(policy: ServicePolicy, power: Power) -> Iterator[Obstacle]:
    """Compare a service with what the other hosts say that serve it, too."""
    settings = policy.settings
    if settings.cluster is None:
        if spans_hosts(picture_of(settings)):
            text = "spans hosts, and nothing says which: a rank that ends would be started alone,"
            text += " which vLLM cannot do; write [service.NAME.cluster], see llmagent-cluster(7)"
            yield _warning(f"service.{settings.name}.extra_args", text)
        return
    from agent.tasks.cluster.compare import compared_with_peers  # as the daemon needs none: memory

    engine = install_of(settings).engine(flags=None)
    for key, certain, sentence in compared_with_peers(settings, policy.recovery, engine, power):
        yield (_error if certain else _warning)(f"service.{settings.name}.{key}", sentence)


def _error(path: str, text: str) -> Obstacle:
    return Obstacle(path, Severity.ERROR, text)


def _warning(path: str, text: str) -> Obstacle:
    return Obstacle(path, Severity.WARNING, text)


def _service(settings: Settings, run_engine_help: HelpReader | None) -> Iterator[Obstacle]:
    path = f"service.{settings.name}"
    yield from _unit_name(settings, path)
    user = settings.user if user_id(settings.user) is not None else None
    if user is None:
        text = f"there is no user {settings.user}; create it: adduser --system --group"
        yield _error(f"{path}.user", f"{text} {settings.user}")
    install = install_of(settings)
    where = "engine.runtime" if settings.engine.in_container else "python"
    for problem in install.problems:
        yield _error(f"{path}.{where}", problem)
    if settings.engine.in_container:
        user, run_engine_help = None, None
        for sentence in missing_ranges(settings):
            yield _error(f"{path}.engine.extra_options", sentence)
    if not install.problems:
        yield from _flags(settings, install, path, run_engine_help if user else None)
        for sentence in mistakes_in_arguments(settings, install.engine(flags=None)):
            yield _error(f"{path}.extra_args", sentence)
        yield from _kernels(settings, install, path)
        for key, certain, sentence in what_cannot_be(settings, install):
            yield (_error if certain else _warning)(f"{path}.{key}", sentence)
    for key in ("model", "tokenizer", "chat_template"):
        value = getattr(settings, key)
        if value is not None and value.startswith("/"):
            yield from _local_files(settings, user, value, f"{path}.{key}")
    yield from _access(settings, install.engine(flags=None), path)
    yield from _exposure(settings, path)
    holder, serves = taken_port(settings)
    if holder:
        told = f"{settings.port} is taken by {holder}"
        if serves:
            text = f"{told}: {settings.unit} serves now and would be stopped for a port that it "
            yield _error(f"{path}.port", f"{text}cannot have; stop that process first")
        else:
            yield _warning(f"{path}.port", f"{told}: the service waits until it is free")


def _unit_name(settings: Settings, path: str) -> Iterator[Obstacle]:
    for directory in UNIT_DIRECTORIES:
        unit = Path(directory) / settings.unit
        if unit.exists() and not unit.resolve().is_relative_to(UNIT_DIRECTORY):
            text = f"{unit} is not llmagent's and is left alone; move it away when it suits you, "
            yield _warning(path, f"{text}or give the service another name")
            return


def _flags(
    settings: Settings, install: EngineInstall, path: str, run_engine_help: HelpReader | None
) -> Iterator[Obstacle]:
    argv = command_line(settings, install.engine(flags=None))
    unknown = unknown_by_version(argv, install.version) if install.version else ()
    if run_engine_help is not None:
        try:
            text = run_engine_help(install, settings.user)
            short = tuple(one for one in unknown if not one.flag.startswith("--"))
            unknown = (*unknown_flags(argv, parse_help(text)), *short)
            for key, sentence in values_refused(settings, text):
                yield _error(f"{path}.{key}", sentence)
        except HostLacksError as error:
            yield _warning(f"{path}.python", str(error))
    asked_apart = {argument.split("=", 1)[0].replace("_", "-") for argument in settings.extra_args}
    for flag in unknown:
        key = flag.flag[2:].replace("-", "_")
        is_apart = flag.flag in asked_apart or not flag.flag.startswith("--")
        where = "extra_args" if is_apart else key
        yield _error(f"{path}.{where}", str(flag))


def _kernels(settings: Settings, install: EngineInstall, path: str) -> Iterator[Obstacle]:
    method = settings.quantization or ""
    if forces_slow_kernel(method, install.version):
        text = f"vLLM {install.version} takes {method} as an order to use the slow kernel; remove "
        yield _warning(f"{path}.quantization", f"{text}the key, and it uses Marlin where it can")
    if "HF_HUB_ENABLE_HF_TRANSFER" in settings.environment:
        text = "HF_HUB_ENABLE_HF_TRANSFER does nothing any more; use HF_XET_HIGH_PERFORMANCE"
        yield _warning(f"{path}.environment", text)


def _local_files(settings: Settings, user: str | None, file: str, path: str) -> Iterator[Obstacle]:
    try:
        if not exists(file):
            yield _error(path, f"{file} does not exist")
            return
        is_model = path.endswith(".model") and Path(file).is_dir()
        if is_model and not (Path(file) / "config.json").exists():
            yield _error(path, f"{file} holds no config.json, so it is no model directory")
            return
    except PermissionError as error:
        yield _warning(path, f"{file} cannot be looked at: {error.strerror}; run check as root")
        return
    unreadable = first_unreadable_below if opens(settings, file) else first_unreadable
    if user and (hidden := unreadable(file, user)):
        text = f"user {user} cannot read {hidden}; as root: chmod -R a+rX {file}"
        yield _error(path, f"{text}, and a+x on the directories above it")


def _access(settings: Settings, engine: Engine, path: str) -> Iterator[Obstacle]:
    try:
        wrong = list(secret_files(settings))
        for key, sentence in wrong:
            yield _error(f"{path}.{key}", sentence)
        if not wrong:
            for sentence in key_mistakes(settings, engine):
                yield _error(f"{path}.api_key_file", sentence)
    except OSError as error:
        named = next(key for key in SECRETS if getattr(settings, key) is not None)
        text = f"{error.filename} cannot be looked at: {error.strerror}; run check as root"
        yield _warning(f"{path}.{named}", text)
    if told := prompts_in_the_journal(settings, engine):
        yield _warning(f"{path}.extra_args", told)
    for sentence in forbidden(settings):
        yield _warning(f"{path}.sandbox", sentence)
    if told := strict_leaves_open(settings):
        yield _warning(f"{path}.sandbox", told)
    for directory in settings.writable_directories:
        if not Path(directory).is_dir():
            text = (
                f"{directory} is no directory; make it: install -d -o {settings.user} {directory}"
            )
            yield _warning(f"{path}.writable_directories", text)


def _exposure(settings: Settings, path: str) -> Iterator[Obstacle]:
    if settings.host not in LOOPBACK and settings.uds is None and not settings.headless:
        yield _warning(f"{path}.host", exposure(settings))
    if settings.port < (lowest := lowest_port()):
        text = f"{settings.port} is for root only, and vLLM does not run as root; use {lowest} or"
        yield _error(f"{path}.port", f"{text} above")
    if settings.trust_remote_code:
        text = "runs code from the model's repository; pin it with revision, or do without"
        if settings.revision is None and not settings.model.startswith("/"):
            yield _warning(f"{path}.trust_remote_code", text)


def _metrics(metrics: Metrics) -> Iterator[Obstacle]:
    if metrics.web_config_file:
        try:
            if file_facts(metrics.web_config_file) is None:
                yield _error("metrics.web_config_file", f"{metrics.web_config_file} is no file")
        except PermissionError as error:
            text = f"{metrics.web_config_file} cannot be looked at: {error.strerror}"
            yield _warning("metrics.web_config_file", f"{text}; run check as root")
    elif metrics.address not in LOOPBACK:
        what = "the metrics and the status page" if metrics.page else "the metrics"
        text = f"{metrics.listen} shows {what} to everyone who reaches this host; "
        yield _warning("metrics.listen", f"{text}set web_config_file for TLS and passwords")


def _heard_by_peers(config: Config) -> Iterator[Obstacle]:
    """Warn of an exporter that no other host of a group reaches."""
    for name, policy in config.services.items():
        cluster = policy.settings.cluster
        if cluster is not None and config.metrics.address in LOOPBACK:
            text = f"the other hosts of service.{name} ask here, and {config.metrics.listen} is for"
            text += f" this host alone; give an address that they reach, as {cluster.host_ip}"
            yield _warning("metrics.listen", f"{text}:{config.metrics.port}")
            return


def _shared_memory(services: list[Settings]) -> Iterator[Obstacle]:
    """Warn where services leave less of a shared GPU than their contexts and graphs take."""
    for position, one in enumerate(services):
        for other in services[:position]:
            asked = _share_of(one) + _share_of(other)
            if one.shares_gpu_with(other) and asked > TIGHT_UTILIZATION:
                text = f"with service.{other.name} on the same GPU {asked:.2f} of it is asked for; "
                text += f"above {TIGHT_UTILIZATION} one of them often cannot start"
                yield _warning(f"service.{one.name}.gpu_memory_utilization", text)


def _share_of(settings: Settings) -> float:
    """Return the share of a card that a service takes; none where it asks for bytes."""
    if settings.kv_cache_memory_bytes is not None:
        return 0.0
    return settings.gpu_memory_utilization or default_utilization(version_of(settings))
