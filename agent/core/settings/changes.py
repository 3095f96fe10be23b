# SPDX-License-Identifier: Apache-2.0
"""What a new configuration changes, and which of it needs a restart of a service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields

from agent.core.settings.cluster import ASKED_BY, ClusterSettings
from agent.core.settings.config import Config
from agent.core.settings.fleet import Fleet
from agent.core.settings.gpus import CardLimits, Power, Thermal
from agent.core.settings.notify import Notify
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import Expectations, ServicePolicy, Settings

WITHOUT_RESTART = frozenset(
    {"hf_token_file", "prefetch", "profile", "client_certfile", "client_keyfile"}
)
"""Settings that only the next start reads, so that a running service may go on without them."""

AGENT = "llmagent.service"

Section = Settings | ClusterSettings | Expectations | Recovery | Power | Thermal | Notify | Fleet


def restart_needed(old: Settings, new: Settings) -> tuple[str, ...]:
    """Return the names of the settings that differ and that only a new process can take."""
    return tuple(name for name in _differing(old, new) if name not in WITHOUT_RESTART)


def changes(old: Config, new: Config) -> tuple[str, ...]:
    """Return one sentence for each thing that differs, in the order of the new file."""
    return (
        *_service_changes(old.services, new.services),
        *_gpu_changes(old, new),
        *_metrics_changes(old, new),
        *_fleet_changes(old, new),
    )


def restarted(old: Config, new: Config) -> tuple[str, ...]:
    """Return the units that have to be restarted for it.

    Those of services the reload itself restarts, llmagent.service a person, at no cost to vLLM.
    """
    services = tuple(
        policy.settings.unit
        for name, policy in new.services.items()
        if name in old.services and restart_needed(old.services[name].settings, policy.settings)
    )
    own = old.metrics != new.metrics or old.fleet != new.fleet
    return (*services, *((AGENT,) if own else ()))


def _service_changes(
    old: Mapping[str, ServicePolicy], new: Mapping[str, ServicePolicy]
) -> Iterator[str]:
    for name, policy in new.items():
        before = old.get(name)
        if before is None:
            yield f"service.{name}: added (starts {policy.settings.unit})"
            continue
        for key in _differing(before.settings, policy.settings):
            when = "at its next start" if key in WITHOUT_RESTART else f"restarts {name}.service"
            yield _sentence(f"service.{name}", key, before.settings, policy.settings, f" ({when})")
        yield from _peer_changes(name, before.settings.cluster, policy.settings.cluster)
        for key in _differing(before.expect, policy.expect):
            yield _sentence(f"service.{name}.expect", key, before.expect, policy.expect)
        for key in _differing(before.recovery, policy.recovery):
            yield _sentence(f"service.{name}.recovery", key, before.recovery, policy.recovery)
    for name, policy in old.items():
        if name not in new:
            yield f"service.{name}: removed ({policy.settings.unit} is no longer managed)"


def _peer_changes(
    name: str, old: ClusterSettings | None, new: ClusterSettings | None
) -> Iterator[str]:
    if old is None or new is None:
        return
    for key in ASKED_BY:
        if getattr(old, key) != getattr(new, key):
            yield _sentence(f"service.{name}.cluster", key, old, new, " (at once)")


def _gpu_changes(old: Config, new: Config) -> Iterator[str]:
    for key in _differing(old.power, new.power):
        yield _sentence("power", key, old.power, new.power)
    for key in _differing(old.thermal, new.thermal):
        yield _sentence("thermal", key, old.thermal, new.thermal)
    for key in _differing(old.notify, new.notify):
        yield _sentence("notify", key, old.notify, new.notify)


def _metrics_changes(old: Config, new: Config) -> Iterator[str]:
    when = "(when llmagent restarts)"
    if old.metrics.listen != new.metrics.listen:
        yield f"metrics.listen: {old.metrics.listen} -> {new.metrics.listen} {when}"
    if old.metrics.web_config_file != new.metrics.web_config_file:
        before, after = old.metrics.web_config_file, new.metrics.web_config_file
        yield f"metrics.web_config_file: {before or 'none'} -> {after or 'none'} {when}"
    if old.metrics.host != new.metrics.host:
        yield f"metrics.host: {redacted(old.metrics.host)} -> {redacted(new.metrics.host)} {when}"


def _fleet_changes(old: Config, new: Config) -> Iterator[str]:
    for key in _differing(old.fleet, new.fleet):
        yield _sentence("fleet", key, old.fleet, new.fleet, " (when llmagent restarts)")


def _differing(old: Section, new: Section) -> tuple[str, ...]:
    return tuple(
        item.name for item in fields(old) if getattr(old, item.name) != getattr(new, item.name)
    )


def _sentence(path: str, key: str, old: Section, new: Section, when: str = "") -> str:
    return f"{path}.{key}: {redacted(getattr(old, key))} -> {redacted(getattr(new, key))}{when}"


def redacted(value: object) -> str:
    """Return a value as agent.toml has it, more or less."""
    match value:
        case None:
            return "unset"
        case bool():
            return "true" if value else "false"
        case CardLimits():
            known = {f.name: getattr(value, f.name) for f in fields(value)}
            return redacted(
                {name: redacted(item) for name, item in known.items() if item is not None}
            )
        case tuple():
            return f"[{', '.join(map(str, value))}]"
        case Mapping():
            return "{" + ", ".join(f"{name}={redacted(item)}" for name, item in value.items()) + "}"
        case _:
            return str(value)
