# SPDX-License-Identifier: Apache-2.0
"""Reads the signatures that are shipped with the package."""

from __future__ import annotations

import tomllib
from pathlib import Path

from agent.core.diagnosis.placement.places import Places
from agent.core.diagnosis.placement.rules import PlaceRule, rule_from_table
from agent.core.diagnosis.signature_table import signature_from_table
from agent.core.diagnosis.signatures import (
    Signature,
    SignatureSet,
)
from agent.core.diagnosis.writing.writers import Writers, writers_from_table
from agent.errors import HostLacksError
from agent.packaged import packaged


def load_signatures(*, with_examples: bool = False) -> SignatureSet:
    """Return all signatures of the package; raises HostLacksError when a file cannot be used.

    Their examples are for tests: a process that only reads logs keeps 0.1 MiB without them.
    """
    return read_signatures(packaged("signatures"), with_examples=with_examples)


def read_signatures(directory: Path, *, with_examples: bool = False) -> SignatureSet:
    """Return the signatures of all TOML files in a directory; raises HostLacksError."""
    signatures: list[Signature] = []
    versions: dict[int, str] = {}
    rules: list[PlaceRule] = []
    writers: Writers | None = None
    for entry in sorted(directory.glob("*.toml")):
        try:
            data = tomllib.loads(entry.read_text(encoding="utf-8"))
            if not with_examples:
                for table in (*data.get("signature", []), *data.get("place", [])):
                    table.pop("example", None)
            for table in data.get("signature", []):
                signatures.append(signature_from_table(table, len(signatures)))
            shared = data.get("exceptions", {})
            rules += [rule_from_table(table, shared) for table in data.get("place", [])]
            if "writers" in data:
                writers = writers_from_table(data["writers"])
            versions.update({int(line): name for line, name in data.get("core_lines", {}).items()})
        except (OSError, ValueError) as error:
            message = f"{entry.name}: {error}; reinstall the package or correct the file"
            raise HostLacksError(message) from error
    if not signatures:
        raise HostLacksError(f"{directory}: no signatures found; reinstall the package")
    return SignatureSet(signatures, versions, Places(rules), writers)
