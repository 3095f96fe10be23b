# SPDX-License-Identifier: Apache-2.0
"""What the server lists and did, against what was asked."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from agent.core.engine.answers import ApiFacts, Done, NoAnswer, ServedModel
from agent.core.settings.service import Settings
from agent.core.verify.check import Check, Verdict
from agent.core.verify.served import adapters, other_ways

LISTED = (ServedModel("llama"), ServedModel("sql"), ServedModel("fr"))


def of_adapters(
    *extra: str, models: object = LISTED, did: Mapping[str, Done | NoAnswer] | None = None
) -> list[Check]:
    settings = Settings(name="vllm", model="llama", extra_args=extra)
    api = ApiFacts(models=models, adapters=did or {})  # type: ignore[arg-type]
    return list(adapters(settings, api))


@pytest.mark.parametrize(
    "extra",
    [
        ("--enable-lora", "--lora-modules", "sql=/srv/sql", "fr=/srv/fr"),
        ("--lora-modules", '{"name": "sql", "path": "/srv/sql"}', '{"name": "fr", "path": "/f"}'),
    ],
)
def test_adapters_that_are_listed_are_proven_in_both_spellings(extra: tuple[str, ...]) -> None:
    [check] = of_adapters(*extra)
    assert (check.item, check.asked, check.got) == ("lora_modules", "sql, fr", "sql, fr")
    assert check.verdict is Verdict.PROVEN


def test_an_adapter_that_is_not_listed_contradicts_and_is_named() -> None:
    [check] = of_adapters("--lora-modules", "sql=/srv/sql", "de=/srv/de")
    assert check.verdict is Verdict.CONTRADICTED
    assert check.evidence == "/v1/models lists sql, not de"


TOKEN = Done("completion", "/v1/completions", "1 tokens", "x", 0.1)
BOTH = ("--lora-modules", "sql=/srv/sql", "fr=/srv/fr")


def test_an_adapter_proves_itself_by_its_own_work() -> None:
    [check] = of_adapters(*BOTH, did={"sql": TOKEN, "fr": TOKEN})
    assert check.verdict is Verdict.PROVEN
    assert check.evidence == "/v1/models lists sql, fr; sql, fr answered"


def test_an_adapter_that_fails_where_the_model_works_contradicts_and_is_named() -> None:
    broken = NoAnswer("/v1/completions: HTTP 500: rank 64", broken=True)
    [check] = of_adapters(*BOTH, did={"sql": TOKEN, "fr": broken})
    assert (check.got, check.verdict) == ("sql", Verdict.CONTRADICTED)
    assert "fr: /v1/completions: HTTP 500: rank 64" in check.evidence
    [late] = of_adapters(*BOTH, did={"sql": TOKEN, "fr": NoAnswer("queue is full", refused=True)})
    assert late.verdict is Verdict.UNKNOWN
    assert "queue is full" in late.note


def test_a_list_that_cannot_be_had_leaves_adapters_unknown() -> None:
    [check] = of_adapters("--lora-modules", "sql=/srv/sql", models=NoAnswer("needs a key"))
    assert (check.verdict, check.note or check.evidence) == (Verdict.UNKNOWN, "needs a key")


@pytest.mark.parametrize(
    "extra", [(), ("--enable-lora",), ("--lora-modules", "{not json"), ("--lora-modules", "[1]")]
)
def test_where_no_adapter_is_named_there_is_no_item(extra: tuple[str, ...]) -> None:
    assert of_adapters(*extra) == []


def test_a_chat_and_a_picture_are_items_of_their_own() -> None:
    chat = Done("chat", "/v1/chat/completions", "1 tokens", "1", 0.25)
    broken = NoAnswer("/v1/chat/completions: EngineCore", broken=True)
    checks = list(other_ways(ApiFacts(besides={"chat": chat, "image": broken})))
    assert [(c.item, c.got, c.verdict) for c in checks] == [
        ("chat", "1 tokens in 0.25 s", Verdict.PROVEN),
        ("image", "no answer", Verdict.CONTRADICTED),
    ]
    [late] = other_ways(ApiFacts(besides={"chat": NoAnswer("the queue is full", refused=True)}))
    assert late.verdict is Verdict.UNKNOWN
