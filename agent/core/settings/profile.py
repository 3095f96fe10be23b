# SPDX-License-Identifier: Apache-2.0
"""A deployment that is known: settings for a model on a card, and what is to be expected of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from agent.core.record import dataclass


class Origin(StrEnum):
    """Where a figure comes from."""

    PUBLISHED = "published"
    COMPUTED = "computed"
    MEASURED = "measured on this host"


class Quantity(StrEnum):
    """What a band is about; the unit is the name's end."""

    GPU_MEMORY = "gpu_memory_used_gib"
    POWER = "power_watts"
    TEMPERATURE = "temperature_celsius"
    DECODE = "decode_tokens_per_second"
    TTFT = "time_to_first_token_seconds"
    KV = "available_kv_gib"
    START = "start_seconds"


@dataclass(frozen=True, slots=True)
class Band:
    """What is to be expected of a quantity: from `low` to `high`, in the unit of its name.

    `batch` is the number of requests at once, `context_tokens` the length of the prompt, 0 where
    it does not matter.
    """

    quantity: Quantity
    low: float
    high: float
    origin: Origin
    batch: int = 0
    context_tokens: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Alert:
    """A threshold in PromQL, on metrics of vLLM's or of llmagent's that exist."""

    name: str
    expr: str
    for_seconds: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class CardModel:
    """The GPUs that a profile is for: globs of NVML's names, and the figures of one card."""

    names: tuple[str, ...]
    memory_gib: float
    memory_bandwidth_bytes_per_second: float
    count: int = 1

    def is_one(self, name: str) -> bool:
        """Tell whether a card of this name is meant."""
        return any(fnmatchcase(name, pattern) for pattern in self.names)


@dataclass(frozen=True, slots=True)
class Since:
    """Settings that hold from one version of vLLM on."""

    version: tuple[int, int]
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Profile:
    """One known deployment."""

    name: str
    description: str
    card: CardModel
    settings: Mapping[str, Any]
    """With the keys of agent.toml's table, as `expect` and `recovery`."""

    since: tuple[Since, ...] = ()
    """Settings that hold from a release of vLLM on."""

    expect: Mapping[str, Any] = field(default_factory=dict)
    recovery: Mapping[str, Any] = field(default_factory=dict)
    bands: tuple[Band, ...] = ()
    """What its figures should be."""

    alerts: tuple[Alert, ...] = ()
    """Rules of its own for Prometheus."""

    notes: tuple[str, ...] = ()

    def settings_for(self, version: tuple[int, ...]) -> Mapping[str, Any]:
        """Return the settings for a release of vLLM."""
        merged = dict(self.settings)
        for entry in sorted(self.since, key=lambda entry: entry.version):
            if version >= entry.version:
                merged.update(entry.settings)
        return merged


class ProfileError(ValueError):
    """Says what is wrong with a profile, and where in it."""


_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
_TABLES = frozenset(
    {"description", "card", "settings", "since", "expect", "recovery", "band", "alert", "notes"}
)


def profile_of(name: str, table: Mapping[str, Any]) -> Profile:
    """Read a profile; raises ProfileError."""
    if not _NAME.fullmatch(name):
        raise ProfileError(f"{name!r} is no name: small letters, digits, points and dashes")
    unknown = sorted(table.keys() - _TABLES)
    if unknown:
        raise ProfileError(f"unknown key {unknown[0]}; there are {', '.join(sorted(_TABLES))}")
    try:
        return Profile(
            name=name,
            description=str(table["description"]),
            card=_card(table["card"]),
            settings=_mapping(table["settings"]),
            since=tuple(_since(entry) for entry in table.get("since", ())),
            expect=_mapping(table.get("expect", {})),
            recovery=_mapping(table.get("recovery", {})),
            bands=tuple(_band(entry) for entry in table.get("band", ())),
            alerts=tuple(Alert(**entry) for entry in table.get("alert", ())),
            notes=tuple(str(note) for note in table.get("notes", ())),
        )
    except KeyError as error:
        raise ProfileError(f"key {error.args[0]} is missing") from error
    except (TypeError, ValueError) as error:
        raise ProfileError(str(error)) from error


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ProfileError(f"{value!r} is not a table")
    return value


def _card(raw: object) -> CardModel:
    table = _mapping(raw)
    return CardModel(
        names=tuple(str(name) for name in table["names"]),
        memory_gib=float(table["memory_gib"]),
        memory_bandwidth_bytes_per_second=float(table["memory_bandwidth_bytes_per_second"]),
        count=int(table.get("count", 1)),
    )


def _since(raw: object) -> Since:
    table = _mapping(raw)
    major, minor = str(table["version"]).split(".")[:2]
    return Since((int(major), int(minor)), _mapping(table["settings"]))


def _band(raw: object) -> Band:
    table = dict(_mapping(raw))
    quantity, origin = Quantity(table.pop("quantity")), Origin(table.pop("origin"))
    band = Band(quantity=quantity, origin=origin, **table)
    if band.low > band.high:
        raise ProfileError(f"band of {quantity}: low {band.low:g} is above high {band.high:g}")
    return band
