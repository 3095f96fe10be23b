# SPDX-License-Identifier: Apache-2.0
"""Cards by name."""

import pytest

from agent.core.gpu.catalogue import card_named, nearest_cards, sold_as
from agent.host.data.cards import known_cards

CARDS = known_cards()


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("RTX 4090", "GeForce RTX 4090"),
        ("rtx4090", "GeForce RTX 4090"),
        ("NVIDIA GeForce RTX 4090", "GeForce RTX 4090"),
        ("4090", "GeForce RTX 4090"),
        ("RTX 4070", "GeForce RTX 4070"),
        ("NVIDIA A800-SXM4-80GB", "A100 80GB"),
        ("NVIDIA GeForce RTX 3080 Ti", "GeForce RTX 3080 Ti"),
        ("NVIDIA L40S", "L40S"),
        ("l4", "L4"),
        ("Tesla T4", "Tesla T4"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("NVIDIA H100 80GB HBM3", "H100 80GB HBM3"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX PRO 6000 Blackwell"),
        ("DGX Spark", "GB10"),
    ],
)
def test_a_card_is_known_in_every_common_spelling(asked: str, name: str) -> None:
    card = card_named(asked, CARDS)
    assert card is not None
    assert card.name == name


def test_a_typo_is_answered_with_the_nearest_names() -> None:
    assert card_named("RTX 4091", CARDS) is None
    assert "GeForce RTX 4090" in nearest_cards("RTX 4091", CARDS)
    assert "H100 80GB HBM3" in nearest_cards("h10", CARDS)
    assert nearest_cards("?", CARDS) == ()


def test_the_number_that_a_card_is_sold_with_is_more_than_it_shows() -> None:
    sold = sold_as(24, CARDS.values())
    assert sold is not None
    assert sold.usable_gib < 24
    assert sold_as(23.5, CARDS.values()) is None


@pytest.mark.parametrize("name", sorted(CARDS))
def test_every_card_is_possible(name: str) -> None:
    card = CARDS[name]
    # A GB of the advertisement is at least 10^9 bytes, and at most 2^30 of them are shown.
    assert 0.85 * card.sold_gb * 1e9 / 2**30 < card.usable_gib <= card.sold_gb
    assert (7, 0) <= card.compute_capability < (13, 0)
    assert 1e11 < card.bandwidth_bytes_per_second < 1e13


def test_no_two_cards_have_one_name() -> None:
    spellings = [spelled for card in CARDS.values() for spelled in (card.name, *card.also)]
    for spelled in spellings:
        matching = [c.name for c in CARDS.values() if card_named(spelled, {c.name: c})]
        assert len(matching) == 1, spelled
