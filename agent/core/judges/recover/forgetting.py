# SPDX-License-Identifier: Apache-2.0
"""What learned settings depend on; they are forgotten when any part of it changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

from agent.core.judges.holders.shares import gpus_of
from agent.core.judges.turn import Turn
from agent.core.settings.changes import redacted
from agent.core.settings.service import Settings
from agent.core.state.learned import Learned
from agent.core.state.service import ServiceState

CARDS = "GPUs"
ENGINE = "vLLM version"
UNKNOWN = ""
MOST_SETS = 4
"""Sets of cards, besides the present one, of which what was learned is kept."""

NO_PART = frozenset(
    {"name", "host", "port", "served_model_name", "hf_token_file", "user", "sandbox"}
    | {"python", "chat_template", "shutdown_timeout", "prefetch", "api_key_file", "uds"}
    | {"ssl_certfile", "ssl_keyfile", "ssl_ca_certs", "ssl_cert_reqs", "api_server_count"}
    | {"client_certfile", "client_keyfile"}
    | {"writable_directories", "outgoing_addresses", "start_method"}
)
"""Settings that memory does not depend on; `python` counts by its vLLM's version."""

NOT_SHOWN = frozenset({"environment", "extra_args"})
"""Parts that may hold a secret: they are only named."""


def forget_what_was_learned_elsewhere(turn: Turn, s: ServiceState) -> ServiceState:
    """Return the service without what was learned for another model, engine, GPU or setting."""
    now = _circumstances(turn, s)
    # What is not known now may be what it was: a driver that answers late changes nothing.
    known = {part: value for part, value in now.items() if value != UNKNOWN}
    before = dict(s.learned.learned_for)
    if CARDS in before:
        before[CARDS] = _as_set(before[CARDS])
    other = {
        part: value
        for part, value in known.items()
        if before.get(part, UNKNOWN) not in (UNKNOWN, value)
    }
    changed = [_sentence(part, before[part], value) for part, value in other.items()]
    learned_for = {**before, **known}
    if not changed:
        if learned_for == s.learned.learned_for:
            return s
        return replace(s, learned=replace(s.learned, learned_for=learned_for))
    if set(other) == {CARDS}:
        return _on_other_cards(turn, s, learned_for, changed[0])
    if names := ", ".join(s.learned.overrides):
        turn.tell(s.name, "forgotten", f"{names}: learned for another {'; '.join(changed)}")
    return replace(s, learned=Learned(learned_for=learned_for), learned_elsewhere={})


def _on_other_cards(
    turn: Turn, s: ServiceState, learned_for: Mapping[str, str], what: str
) -> ServiceState:
    """Put aside what was learned on a set of cards, and find again what was on this one.

    A card is away for a minute while its driver starts anew, and comes back with another index.
    """
    here, there = learned_for[CARDS], s.learned.learned_for[CARDS]
    kept = {cards: learned for cards, learned in s.learned_elsewhere.items() if cards != here}
    kept = dict([*kept.items(), (there, s.learned)][-MOST_SETS:])
    if names := ", ".join(s.learned.overrides):
        turn.tell(s.name, "forgotten", f"{names}: learned for another {what}")
    found = s.learned_elsewhere.get(here, Learned())
    if names := ", ".join(found.overrides):
        turn.tell(s.name, "found", f"{names}: learned on these GPUs before, in force again")
    found = replace(found, learned_for={**found.learned_for, **learned_for})
    return replace(s, learned=found, learned_elsewhere=kept)


def on_gpus(turn: Turn) -> None:
    """Forget what was learned on a card that was swapped."""
    for s in tuple(turn.services.values()):
        if s.name not in turn.policy.services:
            continue
        cards = _cards(turn, s)
        if cards not in (UNKNOWN, s.learned.learned_for.get(CARDS)):
            turn.put(forget_what_was_learned_elsewhere(turn, s))


def _circumstances(turn: Turn, s: ServiceState) -> Mapping[str, str]:
    settings = turn.policy_of(s).settings
    parts = {
        item.name: redacted(getattr(settings, item.name))
        for item in fields(Settings)
        if item.name not in NO_PART
    }
    version = turn.policy.engines[s.name].version
    return {**parts, ENGINE: version or UNKNOWN, CARDS: _cards(turn, s)}


def _cards(turn: Turn, s: ServiceState) -> str:
    """Return the set of cards; their order, which is the host's, does not matter."""
    return _as_set(", ".join(f"{gpu.name} {gpu.uuid}" for gpu in gpus_of(turn, s)))


def _as_set(cards: str) -> str:
    return ", ".join(sorted(cards.split(", ")))


def _sentence(part: str, old: str, new: str) -> str:
    return part if part in NOT_SHOWN else f"{part} ({old}, now {new})"
