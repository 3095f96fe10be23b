# SPDX-License-Identifier: Apache-2.0
"""Cards by name, and prices by card: TOML files."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from agent.core.gpu.catalogue import CardFacts, card_named, nearest_cards
from agent.errors import HostLacksError, UsageError
from agent.packaged import packaged


@cache
def known_cards() -> Mapping[str, CardFacts]:
    """Return the cards of this package by name; raises HostLacksError when its data is damaged."""
    file = packaged("cards", "cards.toml")
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
        return MappingProxyType({name: _card(name, table) for name, table in tables.items()})
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise HostLacksError(f"{file}: {error}; reinstall the package") from error


def _card(name: str, table: Mapping[str, Any]) -> CardFacts:
    major, _, minor = table["compute_capability"].partition(".")
    return CardFacts(
        name=name,
        usable_gib=float(table["usable_gib"]),
        sold_gb=float(table["sold_gb"]),
        compute_capability=(int(major), int(minor)),
        bandwidth_bytes_per_second=table["bandwidth_gb_per_second"] * 1e9,
        unified=bool(table.get("unified", False)),
        also=tuple(table.get("also", ())),
    )


def card_or_mistake(name: str) -> CardFacts:
    """Return the card of a name; raises UsageError with the nearest for one that is not known."""
    cards = known_cards()
    card = card_named(name, cards)
    if card is None:
        near = " or ".join(nearest_cards(name, cards))
        hint = f"; did you mean {near}?" if near else "; `llmagent plan MODEL --cards` lists them"
        raise UsageError(f"no card called {name!r} is known{hint} (or give --gpu-memory-gib)")
    return card


MOST = 1e12
"""No card costs more in any unit."""


def read_prices(file: Path) -> tuple[Mapping[str, float], str]:
    """Return the price of each card by the card's own name, and what they are in.

    The file holds `unit = "EUR/h"`, which may be left out, and under [prices] a number for each
    card: "RTX 4090" = 0.35. Raises UsageError for anything else.
    """
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{file}: {error}") from error
    prices = document.get("prices")
    unit = document.get("unit", "")
    if not isinstance(prices, dict) or not isinstance(unit, str):
        raise UsageError(f'{file}: write [prices] and under it lines like "RTX 4090" = 0.35')
    found: dict[str, float] = {}
    for name, price in prices.items():
        if isinstance(price, bool) or not isinstance(price, int | float) or not 0 <= price < MOST:
            raise UsageError(f"{file}: the price of {name} is no number")
        found[card_or_mistake(name).name] = float(price)
    return found, unit
