# SPDX-License-Identifier: Apache-2.0
"""Reads the catalogue of Xids and the patterns of their lines that are shipped with the package."""

from __future__ import annotations

import re
import tomllib
from importlib import resources

from agent.core.gpu.xid_lines import XidMeaning, Xids
from agent.errors import HostLacksError


def load_xids() -> Xids:
    """Return what the package knows of Xids; raises HostLacksError when a file cannot be used."""
    files = resources.files("agent.xids")
    try:
        rows = tomllib.loads((files / "catalogue.toml").read_text(encoding="utf-8"))["xid"]
        lines = tomllib.loads((files / "lines.toml").read_text(encoding="utf-8"))["line"]
        catalogue = {int(code): XidMeaning(**row) for code, row in rows.items()}
        return Xids([line["pattern"] for line in lines], catalogue)
    except (OSError, ValueError, KeyError, TypeError, re.error) as error:
        message = f"the catalogue of Xids cannot be read ({error}); reinstall the package"
        raise HostLacksError(message) from error
