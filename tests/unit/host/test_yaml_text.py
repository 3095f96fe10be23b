# SPDX-License-Identifier: Apache-2.0
"""YAML of strangers: lists and tables that end, or one error with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import UsageError
from agent.host.data.recipes import _document
from agent.host.files.yaml_text import yaml_documents
from agent.host.vllm.config_file import read_options_file

NONE_OF_THEIR_KIND = (
    *('a: !!timestamp "z"', 'a: !!int ""', 'a: !!bool "x"', 'a: !!float ""', "a: 2026-99-99"),
    *("a: !!binary x", f"a: {'9' * 5000}", "a: {<<: 3}", "!!omap [1]", "{[1]: 2}", "a: \0"),
)
LAUGHS = "a0: &a0 [1, 1]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGED = "a0: &a0 {k: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)
)
WITHOUT_END = ("a: &a [1, *a]", "a: &a {b: *a}", f"a: {'[' * 5000}", LAUGHS, MERGED)
TAGS = st.sampled_from(["!!int", "!!float", "!!bool", "!!timestamp", "!!binary", "!!set", "!!omap"])


def reason(text: str) -> str | None:
    """Return why it cannot be read, None where it can."""
    try:
        yaml_documents(text)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize("text", [*NONE_OF_THEIR_KIND, *WITHOUT_END], ids=lambda text: text[:24])
def test_what_cannot_be_read_is_one_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    said = reason(text)
    assert said
    assert "\n" not in said
    with pytest.raises(UsageError):
        read_options_file(str(file))


def test_a_file_of_options_with_several_documents_is_refused_as_vllm_refuses_it(
    tmp_path: Path,
) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("port: 1\n---\nport: 2\n")
    with pytest.raises(UsageError, match="several documents"):
        read_options_file(str(file))


@pytest.mark.parametrize("text", NONE_OF_THEIR_KIND, ids=lambda text: text[:24])
def test_a_recipe_that_cannot_be_read_is_one_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(f"model: m\nb: {{}}\n---\n{text}")
    with pytest.raises(ValueError, match="is not YAML"):
        _document(file)


@settings(max_examples=60)
@given(st.lists(st.tuples(TAGS, st.text("0123456789.:-eE_xT z[]{}\"'", max_size=12)), max_size=4))
def test_any_tag_with_any_text_is_a_value_or_one_error(values: list[tuple[str, str]]) -> None:
    text = "\n".join(f"k{n}: {tag} {word}" for n, (tag, word) in enumerate(values))
    assert reason(text) != ""


def test_aliases_and_merges_of_a_usual_file_are_read() -> None:
    text = "x-common: &c {restart: always}\nservices:\n  a: {<<: *c, image: i}\n  b: {<<: *c}\n"
    (found,) = yaml_documents(text)
    assert found["services"]["a"] == {"restart": "always", "image": "i"}
