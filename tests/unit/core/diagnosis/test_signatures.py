# SPDX-License-Identifier: Apache-2.0
"""The signature files: every entry is proven by its own examples and claims nobody else's lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.core.diagnosis.lines import clean_lines
from agent.core.diagnosis.signature_table import signature_from_table
from agent.core.diagnosis.signatures import (
    Rank,
    Signature,
    SignatureError,
    SignatureKind,
    SignatureSet,
)
from agent.core.failures.classes import FailureClass, Kind
from agent.core.failures.meaning import NEVER_A_FAILURE, TABLE, advice_for_class, kind_of, transient
from agent.core.failures.xids import XidAction, of_xid, xid_action
from agent.errors import HostLacksError
from agent.host.data.signatures import load_signatures, read_signatures
from tests.given.engine_logs import DEATH_AT_START, LOADING, SIGNATURES, diagnose

EXAMPLES = [
    pytest.param(signature, example, id=f"{signature.id}-{number}")
    for signature in SIGNATURES.signatures
    for number, example in enumerate(signature.examples)
]
FAILURES = {SignatureKind.FAILURE, SignatureKind.WRAPPER, SignatureKind.FALLBACK}


@pytest.mark.parametrize(("signature", "example"), EXAMPLES)
def test_a_signature_is_found_in_its_own_examples(signature: Signature, example: str) -> None:
    (line,) = clean_lines(example)
    assert signature.id in [match.signature.id for match in SIGNATURES.find(line.text)]


@pytest.mark.parametrize(
    ("signature", "example"),
    [p for p in EXAMPLES if p.values[0].kind in FAILURES and p.values[0].failure],  # type: ignore[union-attr]
)
def test_no_other_class_claims_the_example_of_a_failure(signature: Signature, example: str) -> None:
    explains = signature.rank is Rank.HINT
    found = diagnose(f"{LOADING}\n{example}{DEATH_AT_START}" if explains else example).failure
    assert found is not None
    if signature.id.startswith("xid"):
        assert found.value.startswith("xid-")
    else:
        assert found is signature.failure


@pytest.mark.parametrize(
    ("signature", "example"),
    [p for p in EXAMPLES if p.values[0].kind is SignatureKind.NOISE],  # type: ignore[union-attr]
)
def test_noise_alone_is_no_finding(signature: Signature, example: str) -> None:
    assert diagnose(example).failure is None


def test_every_signature_has_an_example_and_a_name_of_its_own() -> None:
    names = [signature.id for signature in SIGNATURES.signatures]
    assert sorted(set(names)) == sorted(names)
    assert [s.id for s in SIGNATURES.signatures if not s.examples] == []


def test_versions_of_a_signature_are_in_order() -> None:
    def key(version: str) -> list[int]:
        return [int(part) for part in version.split(".")]

    for signature in SIGNATURES.signatures:
        if signature.since and signature.until:
            assert key(signature.since) <= key(signature.until), signature.id


def test_every_failure_class_that_a_log_can_show_has_a_signature() -> None:
    claimed = {signature.failure for signature in SIGNATURES.signatures}
    claimed |= {
        c for s in SIGNATURES.signatures for c in (*s.by_phase.values(), *s.by_frame.values())
    }
    claimed |= {s.in_container for s in SIGNATURES.signatures}
    claimed |= {r.failure for r in SIGNATURES.places.rules}
    claimed |= {c for r in SIGNATURES.places.rules for c in r.by_exception.values()}
    shown_by_the_whole_log = {
        *(FailureClass.UNKNOWN, FailureClass.SIGTERM_IGNORED_AT_STARTUP, FailureClass.HOST_RESET)
    }
    missing = [
        name
        for name in FailureClass
        if name not in claimed | shown_by_the_whole_log and not name.value.startswith("xid-")
    ]
    assert missing == []


def test_every_class_says_who_can_cure_it_and_what_to_do() -> None:
    assert set(TABLE) == set(FailureClass)
    for name in FailureClass:
        assert advice_for_class(name).endswith(".")


def test_a_failure_that_needs_a_person_is_never_called_transient() -> None:
    for name in FailureClass:
        if kind_of(name) is Kind.HUMAN:
            assert transient(name) is False


def test_how_a_run_stopped_and_fallbacks_are_no_failures() -> None:
    assert FailureClass.SHUTDOWN_DRAIN in NEVER_A_FAILURE
    assert FailureClass.FALLBACK_AWQ_FORCED in NEVER_A_FAILURE
    assert FailureClass.ENGINE_DEAD not in NEVER_A_FAILURE


@pytest.mark.parametrize(
    ("code", "action"),
    [
        (13, XidAction.RESTART),
        (31, XidAction.RESTART),
        (45, XidAction.NOTE),
        (63, XidAction.NOTE),
        (79, XidAction.REBOOT),
        (119, XidAction.RESET),
        (54, XidAction.HOLD),
        (4000, XidAction.NOTE),
    ],
)
def test_an_xid_gets_the_action_of_the_catalogue(code: int, action: XidAction) -> None:
    assert xid_action(code) is action


def test_an_xid_that_no_catalogue_knows_still_has_a_class() -> None:
    assert of_xid(79) is FailureClass.XID_79
    assert of_xid(4000) is FailureClass.XID_OTHER


def test_a_line_without_any_indexed_word_matches_nothing() -> None:
    assert SIGNATURES.find("the quick brown fox") == ()


@pytest.mark.parametrize(
    "table",
    [
        {"id": "x", "kind": "failure", "literal": ["abc"], "colour": "red"},
        {"id": "x", "kind": "no-such-kind", "literal": ["abc"]},
        {"id": "x", "kind": "failure", "class": "no-such-class", "literal": ["abc"]},
        {"id": "x", "kind": "failure", "literal": ["abc"], "pattern": "(unclosed"},
        {"id": "x", "kind": "fact", "literal": ["abc"], "pattern": "(?P<no_such_fact>a)"},
        {"id": "x", "literal": ["abc"]},
    ],
)
def test_a_broken_entry_is_refused_by_name(table: dict[str, object]) -> None:
    with pytest.raises(SignatureError, match="x"):
        signature_from_table(table, 0)


def test_a_literal_without_a_word_cannot_be_indexed() -> None:
    entry = signature_from_table({"id": "x", "kind": "noise", "literal": ["%%"]}, 0)
    with pytest.raises(SignatureError):
        SignatureSet([entry])


def test_who_only_reads_logs_keeps_no_examples_and_knows_as_much() -> None:
    known = load_signatures()
    assert [s.id for s in known.signatures] == [s.id for s in SIGNATURES.signatures]
    assert [r.id for r in known.places.rules] == [r.id for r in SIGNATURES.places.rules]
    assert not any(s.examples for s in known.signatures)
    assert not any(r.examples for r in known.places.rules)


def test_a_broken_file_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[[signature]\n")
    with pytest.raises(HostLacksError, match=r"bad\.toml"):
        read_signatures(tmp_path)


def test_a_directory_without_signatures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HostLacksError, match="no signatures"):
        read_signatures(tmp_path)


def test_a_new_file_is_all_that_a_new_line_needs(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(
        '[[signature]]\nid = "own"\nkind = "failure"\nclass = "disk-full"\n'
        'literal = ["the hamster is tired"]\nexample = ["the hamster is tired"]\n'
    )
    (match,) = read_signatures(tmp_path).find("ERROR: the hamster is tired")
    assert match.signature.failure is FailureClass.DISK_FULL
