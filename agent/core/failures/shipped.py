# SPDX-License-Identifier: Apache-2.0
"""The tables of failure classes and Xids as they stand in the package's data.

They are read once, when this module is loaded, like the code itself. HostLacksError is raised where
a file is missing or is no TOML.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any, Final

from agent.errors import HostLacksError
from agent.packaged import packaged


def _table(room: str, name: str) -> Mapping[str, Mapping[str, Any]]:
    try:
        text = packaged(room, name).read_text(encoding="utf-8")
        return tomllib.loads(text)
    except (OSError, ValueError) as error:
        message = f"agent/{room}/{name}: {error}; reinstall the package"
        raise HostLacksError(message) from error


CLASSES: Final[Mapping[str, Mapping[str, Any]]] = {
    slug: {"group": group, **row}
    for group, rows in _table("failures", "classes.toml").items()
    for slug, row in rows.items()
}
"""The columns of each class by its slug, in the order of the file."""

XIDS: Final[Mapping[int, Mapping[str, str]]] = {
    int(code): row for code, row in _table("xids", "catalogue.toml")["xid"].items()
}
"""The columns of each Xid of NVIDIA's catalogue by its code."""

CLASSES_OF_XIDS: Final = tuple(code for code, row in XIDS.items() if "action" in row)
"""The codes that are failure classes of their own."""
