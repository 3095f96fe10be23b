# SPDX-License-Identifier: Apache-2.0
"""agent.toml, the installed engines and the models -> the policy that decide works with."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.core.command.picture import Picture, picture_of
from agent.core.engine.install import Engine, EngineInstall
from agent.core.guard import place_of
from agent.core.planner.asked.reading import overridden
from agent.core.planner.config_keys import NotAModelError
from agent.core.planner.model import model_of
from agent.core.settings.config import Config
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.policy import HostPolicy, KnownModel
from agent.core.unit.environment import environment_of
from agent.errors import AgentError, UsageError
from agent.host.machine.reading_mark import ReadingMark
from agent.host.models.config import read_model_config
from agent.host.models.draft import draft_of
from agent.host.models.files import weights_gib
from agent.host.models.known import known_models
from agent.host.models.snapshot import cached_gib, directory_of, with_files_beside
from agent.host.vllm.config_file import options_file
from agent.host.vllm.help import cache_directory, known_flags
from agent.host.vllm.install import install_of

MODEL_SECONDS = 3.0
ENGINE_SECONDS = 5.0
"""A file system that does not answer in this time costs the plan, not the agent."""


def policy_of(config: Config, mark: ReadingMark) -> HostPolicy:
    """Return the policy for a new configuration; files are read, nothing is run.

    What the last process was reading when it ended is not read: see `model_of_service`.
    """
    models: dict[str, KnownModel] = {}
    files: dict[str, Mapping[str, Any]] = {}

    def read(name: str, policy: ServicePolicy) -> None:
        _read_files(name, policy.settings, models, files, mark)

    # One after the other: the mark names one.
    for name, policy in config.services.items():
        _within(MODEL_SECONDS / len(config.services), "model", {name: policy}, read)
    return _with_engines(config, dict(models), dict(files), {})


def with_engines_now(config: Config, before: HostPolicy) -> HostPolicy:
    """Return the policy with the engines as they are installed now."""
    return _with_engines(config, before.models, before.option_files, before.engines)


def model_of_service(name: str) -> str:
    """Return what the mark says while the files of this service's model are read."""
    return f"the files of {name}'s model"


def _with_engines(
    config: Config,
    models: Mapping[str, KnownModel],
    files: Mapping[str, Mapping[str, Any]],
    before: Mapping[str, Engine],
) -> HostPolicy:
    found: dict[str, Engine] = {}

    def look(name: str, policy: ServicePolicy) -> None:
        found[name] = _engine(policy.settings)

    _within(ENGINE_SECONDS, "engine", config.services, look)
    read = dict(found)
    silent = {name: _silent(p.settings) for name, p in config.services.items() if name not in read}
    engines = {**silent, **{name: before[name] for name in silent if name in before}, **read}
    return HostPolicy(
        config.services,
        engines,
        models,
        files,
        power=config.power,
        thermal=config.thermal,
        notify=config.notify,
    )


def _within(
    seconds: float,
    what: str,
    services: Mapping[str, ServicePolicy],
    read: Callable[[str, ServicePolicy], None],
) -> None:
    """Read something for each service in a thread of its own; return after so long at most.

    One whose files do not answer, or bring about an exception, keeps none of the others waiting;
    while its thread of an earlier time hangs it gets no other.
    """
    hanging = {thread.name for thread in threading.enumerate()}
    threads = [
        threading.Thread(target=read, args=(name, policy), name=f"{what}:{name}", daemon=True)
        for name, policy in services.items()
        if f"{what}:{name}" not in hanging
    ]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))


def _engine(settings: Settings) -> Engine:
    try:
        install = install_of(settings)
        return install.engine(known_flags(install, cache_directory()))
    # What lies in one service's environment must not hide the engines of the others.
    except Exception as error:  # noqa: BLE001
        problem = f"{settings.python} cannot be looked at ({place_of(error)}): make it anew"
        return EngineInstall(python=settings.python, problems=(problem,)).engine(None)


def _silent(settings: Settings) -> Engine:
    """Return an engine of which nothing is known, as its file system does not answer."""
    problem = f"{settings.python} did not answer within {ENGINE_SECONDS:.0f} s; look at its disk"
    return EngineInstall(python=settings.python, problems=(problem,)).engine(None)


def _read_files(
    name: str,
    settings: Settings,
    models: dict[str, KnownModel],
    files: dict[str, Mapping[str, Any]],
    mark: ReadingMark,
) -> None:
    content = _options(settings)
    if content is not None:
        files[name] = content
    if mark.left == model_of_service(name):
        return
    with mark.of(model_of_service(name)):
        known = _model(settings, picture_of(settings, content))
    if known is not None:
        models[name] = known


def _options(settings: Settings) -> Mapping[str, Any] | None:
    """Return the file of --config; one that cannot be read makes the plan "not known"."""
    try:
        return options_file(settings)
    except UsageError:
        return None


def _model(settings: Settings, picture: Picture) -> KnownModel | None:
    try:
        home = environment_of(settings).get("HF_HOME", "")
        config = read_model_config(settings.model, settings.revision, home)
        files_gib = None
        if config is None:
            config = known_models().get(settings.model)
        else:
            place = directory_of(settings.model, settings.revision, home)
            config = with_files_beside(config, place)
            files_gib = cached_gib(settings.model, settings.revision, home)
        if config is None:
            return None
        model, draft = model_of(overridden(config, picture)), draft_of(picture, home)
        known = KnownModel(model, files_gib, draft)
        if settings.model.startswith("/"):
            known = replace(known, files_gib=weights_gib(Path(settings.model)))
    except (NotAModelError, AgentError, OSError, ValueError, TypeError, KeyError):
        return None
    return known
