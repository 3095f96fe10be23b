# SPDX-License-Identifier: Apache-2.0
"""The part of the catalogue that is kept in the repository, so that tests need no network.

vLLM is Apache-2.0; the rows hold templates of messages and where they stand, no code. A text is
taken by a hash of its words, so that the choice knows nothing of how the reader places it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.catalogue.placing import can_end
from tests.catalogue.releases import RELEASES, Key, key_of, read_rows, texts_in, write_rows
from tests.catalogue.texts import Text

CORPUS = Path(__file__).parents[1] / "given" / "catalogue"
ONE_OF = 11
"""One text of so many is kept."""

SHOWN = 140
"""Characters of a template that are kept."""


def at(release: str) -> Path:
    """Return the file of the texts that this release was the first to have."""
    return CORPUS / f"vllm-{release}.tsv"


def write_corpus() -> str:
    """Write the files of all releases; returns how many rows and bytes there are."""
    seen: set[Key] = set()
    rows = size = 0
    CORPUS.mkdir(exist_ok=True)
    for release in RELEASES:
        first: list[Text] = []
        for text in texts_in(release):
            key = key_of(text)
            if key not in seen and can_end(text) and _chosen(key):
                first.append(replace(text, template=text.template[:SHOWN].strip()))
            seen.add(key)
        write_rows(at(release), first)
        rows += len(first)
        size += at(release).stat().st_size
    return f"{rows} texts, {size} bytes"


def _chosen(key: Key) -> bool:
    return zlib.crc32("".join(key).encode()) % ONE_OF == 0


def corpus() -> Iterator[tuple[str, Text]]:
    """Give every text that is kept, with the release that was the first to have it."""
    for release in RELEASES:
        for text in read_rows(at(release)):
            yield release, text
