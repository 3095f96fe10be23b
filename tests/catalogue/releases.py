# SPDX-License-Identifier: Apache-2.0
"""The texts of each release, read once from its source and kept beside it as tab-separated rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.catalogue.sources import cache, fetched, files
from tests.catalogue.texts import Text, texts_of

RELEASES = (
    *("0.6.3.post1", "0.6.6.post1", "0.7.3", "0.8.5.post1", "0.9.2", "0.10.2", "0.11.0", "0.11.2"),
    *("0.12.0", "0.13.0", "0.14.1", "0.16.0", "0.17.1", "0.18.1", "0.19.1", "0.20.2", "0.21.0"),
    *("0.22.1", "0.23.0", "0.24.0", "0.25.1", "0.26.0", "0.27.1", "0.28.0", "0.29.0", "0.30.0"),
    *("0.31.0", "0.32.0", "0.33.0"),
)
"""One release a minor version, oldest first; PyPI has no sdist of 0.15."""

READER = 1
"""Raised when `texts_of` reads more or otherwise: rows of an older one are made anew."""

Key = tuple[str, ...]


def texts_in(release: str) -> list[Text]:
    """Return the different texts of a release of vLLM, fetched and read where not yet done."""
    at = cache() / f"texts-{READER}-vllm-{release}.tsv"
    if not at.exists():
        found = [
            text
            for path, source in files(fetched("vllm", release))
            if path.startswith(("vllm/", "csrc/"))
            for text in texts_of(path, source)
        ]
        write_rows(at, dict.fromkeys(found))
    return list(read_rows(at))


def write_rows(at: Path, texts: Iterable[Text]) -> None:
    """Write texts as rows of module, function, kind, exception, template and "abstract"."""
    rows = (
        "\t".join((t.module, t.function, t.kind, t.name, _one_line(t.template), _mark(t)))
        for t in texts
    )
    at.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def read_rows(at: Path) -> Iterator[Text]:
    """Give the texts of a file of `write_rows`."""
    for line in at.read_text(encoding="utf-8").split("\n")[:-1]:
        module, function, kind, name, template, mark = line.split("\t")
        text = template.replace("⏎", "\n")
        yield Text(module, function, kind, name, text, mark == "abstract")


def _one_line(template: str) -> str:
    return template.replace("\n", "⏎").replace("\t", " ").replace("\r", " ")


def _mark(text: Text) -> str:
    return "abstract" if text.abstract else ""


def key_of(text: Text) -> Key:
    """Return what makes a text the same in two releases: its words, or its place if it has none."""
    if text.template:
        return (text.name, text.template)
    return (text.name, text.module, text.function)


def new_in(release: str, before: str) -> list[Text]:
    """Return the texts of a release that the one before does not have, moved ones left out."""
    known = {key_of(text) for text in texts_in(before)}
    return [text for text in texts_in(release) if key_of(text) not in known]
