# SPDX-License-Identifier: Apache-2.0
"""What of a service's model comes from the hub, where its cache is, and what was found there."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from agent.core.command.picture import picture_of
from agent.core.record import dataclass
from agent.core.settings.service import Settings
from agent.core.unit.environment import environment_of

HUB = "https://huggingface.co"
TRUE = frozenset({"1", "on", "yes", "true"})
"""What huggingface_hub and vLLM take for a switch that is on, in lower case."""

OTHER_SOURCES = frozenset(
    {"download_dir", "load_format", "ignore_patterns", "model_loader_extra_config"}
)
"""Options with which vLLM loads other files, or to another place, than those that are fetched."""

OTHER_REPOSITORIES = frozenset(
    {
        *("speculative_config", "spec_model", "speculative_model", "lora_modules"),
        *("default_mm_loras", "hf_config_path", "tokenizer_revision", "code_revision"),
        *("qlora_adapter_name_or_path", "prompt_adapters", "config_format"),
    }
)
"""Options that may name what is not fetched, so that vLLM must be able to ask the hub."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of the hub; `weights` is False where only its tokenizer is wanted."""

    name: str
    revision: str
    weights: bool


@dataclass(frozen=True, slots=True)
class CacheFacts:
    """What was found in the hub's cache for one service.

    `lacks` is what is missing in one phrase, "" when the model is complete; `sure` tells whether
    every vLLM loads just what is there. `problem` is why it could not be looked at.
    """

    directory: str
    lacks: str = ""
    sure: bool = True
    free_bytes: int = 0
    problem: str = ""
    commit: str = ""
    """The commit of the model that a start would load, "" where it is not known."""

    @property
    def complete(self) -> bool:
        """Whether a start needs nothing from the hub."""
        return not self.lacks and not self.problem


def prefetched(settings: Settings) -> bool:
    """Tell whether the agent fetches this model before the start; else vLLM does."""
    environment = settings.environment
    return (
        settings.prefetch
        and "/" in settings.model
        and not settings.model.startswith("/")
        and ":" not in settings.model
        and not _is_on(environment.get("HF_HUB_OFFLINE", ""))
        and not _is_on(environment.get("VLLM_USE_MODELSCOPE", ""))
        and not _given(settings, OTHER_SOURCES)
    )


def may_go_offline(settings: Settings) -> bool:
    """Tell whether a service whose model is complete needs no hub at all."""
    return (
        prefetched(settings)
        and "HF_HUB_OFFLINE" not in settings.environment
        and not _given(settings, OTHER_REPOSITORIES)
    )


def always_online(settings: Settings) -> Settings:
    """Return the settings with which vLLM may always ask the hub."""
    environment = {"HF_HUB_OFFLINE": "0"} | dict(settings.environment)
    return replace(settings, environment=MappingProxyType(environment))


def hub_cache(settings: Settings) -> str:
    """Return the directory of the hub's cache, as huggingface_hub finds it from the environment."""
    environment = environment_of(settings)
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environment.get(name, "").startswith("/"):
            return environment[name]
    return f"{environment['HF_HOME']}/hub"


def repositories(settings: Settings) -> tuple[Repository, ...]:
    """Return what a start needs from the hub, the model first."""
    model = Repository(settings.model, settings.revision or "main", weights=True)
    tokenizer = settings.tokenizer
    if tokenizer in (None, settings.model) or tokenizer.startswith("/"):
        return (model,)
    return (model, Repository(tokenizer, "main", weights=False))


def hub_of(settings: Settings) -> str:
    """Return the address of the hub that the service asks."""
    return settings.environment.get("HF_ENDPOINT", HUB).rstrip("/")


def _is_on(value: str) -> bool:
    return value.lower() in TRUE


def _given(settings: Settings, names: frozenset[str]) -> bool:
    """Tell whether one of these options is given, or a file of options that was not read."""
    picture = picture_of(settings)
    return picture.config_file is not None or any(picture.asks(name) for name in names)
