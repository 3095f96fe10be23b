# SPDX-License-Identifier: Apache-2.0
"""Cards by name: what is known of one before it is there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from agent.core.record import dataclass

_NOISE = re.compile(r"nvidia|geforce|tesla|quadro|generation|\bgpu\b|[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class CardFacts:
    """One card: `usable_gib` is what the driver shows, `sold_gb` the number it is sold with.

    `bandwidth_bytes_per_second` is of its memory by the data sheet; `unified` where that memory is
    the host's.
    """

    name: str
    usable_gib: float
    sold_gb: float
    compute_capability: tuple[int, int]
    bandwidth_bytes_per_second: float
    unified: bool = False
    also: tuple[str, ...] = ()


def card_named(name: str, cards: Mapping[str, CardFacts]) -> CardFacts | None:
    """Return the card of this name, in any common spelling: "RTX 4090", "rtx4090", NVML's own."""
    wanted = _plain(name)
    for card in cards.values():
        if wanted in {_plain(each) for each in (card.name, *card.also)}:
            return card
    return None


def nearest_cards(name: str, cards: Mapping[str, CardFacts]) -> tuple[str, ...]:
    """Return the names of up to three cards that were most likely meant."""
    import difflib  # only for who has made a mistake

    plain = {_plain(each): card.name for card in cards.values() for each in (card.name, *card.also)}
    close = difflib.get_close_matches(_plain(name), list(plain), n=3, cutoff=0.5)
    holding = [each for each in plain if _plain(name) and _plain(name) in each]
    return tuple(dict.fromkeys(plain[each] for each in (*close, *holding)))[:3]


def sold_as(gib: float, cards: Iterable[CardFacts]) -> CardFacts | None:
    """Return a card that is sold with this number of GB and shows less than so many GiB."""
    matching = [card for card in cards if card.sold_gb == gib and card.usable_gib < gib - 0.1]
    return max(matching, key=lambda card: card.bandwidth_bytes_per_second, default=None)


def _plain(name: str) -> str:
    return _NOISE.sub("", name.lower())
