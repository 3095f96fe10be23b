# SPDX-License-Identifier: Apache-2.0
"""agent.toml, the installed engines and the models -> the policy that decide works with."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.core.command.picture import Picture, picture_of
from agent.core.planner.asked.reading import overridden
from agent.core.planner.config_keys import NotAModelError
from agent.core.planner.model import model_of
from agent.core.settings.config import Config
from agent.core.settings.service import Settings
from agent.core.state.policy import HostPolicy, KnownModel
from agent.core.unit.environment import environment_of
from agent.errors import AgentError, UsageError
from agent.host.models.config import read_model_config
from agent.host.models.draft import draft_of
from agent.host.models.files import weights_gib
from agent.host.models.known import known_models
from agent.host.models.snapshot import cached_gib, directory_of, with_quantization
from agent.host.vllm.config_file import options_file
from agent.host.vllm.help import cache_directory, known_flags
from agent.host.vllm.install import install_of

MODEL_SECONDS = 3.0
"""A file system that does not answer in this time costs the plan, not the agent."""


def policy_of(config: Config) -> HostPolicy:
    """Return the policy for a new configuration; files are read, nothing is run."""
    models: dict[str, KnownModel] = {}
    files: dict[str, Mapping[str, Any]] = {}
    reader = threading.Thread(target=_read_files, args=(config, models, files), daemon=True)
    reader.start()
    reader.join(MODEL_SECONDS)
    return _with_engines(config, dict(models), dict(files))


def with_engines_now(config: Config, before: HostPolicy) -> HostPolicy:
    """Return the policy with the engines as they are installed now."""
    return _with_engines(config, before.models, before.option_files)


def _with_engines(
    config: Config,
    models: Mapping[str, KnownModel],
    files: Mapping[str, Mapping[str, Any]],
) -> HostPolicy:
    engines = {}
    for name, policy in config.services.items():
        install = install_of(policy.settings)
        engines[name] = install.engine(known_flags(install, cache_directory()))
    return HostPolicy(
        config.services, engines, models, files, power=config.power, thermal=config.thermal
    )


def _read_files(
    config: Config, models: dict[str, KnownModel], files: dict[str, Mapping[str, Any]]
) -> None:
    for name, policy in config.services.items():
        content = _options(policy.settings)
        if content is not None:
            files[name] = content
        known = _model(policy.settings, picture_of(policy.settings, content))
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
            config = with_quantization(config, place)
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
