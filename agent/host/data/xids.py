# SPDX-License-Identifier: Apache-2.0
"""Reads the patterns of the driver's lines that are shipped with the package."""

from __future__ import annotations

import re
import tomllib

from agent.core.gpu.xid_lines import Xids
from agent.errors import HostLacksError
from agent.packaged import packaged


def load_xids() -> Xids:
    """Return how an Xid is printed; raises HostLacksError when the file cannot be used."""
    file = packaged("xids", "lines.toml")
    try:
        lines = tomllib.loads(file.read_text(encoding="utf-8"))["line"]
        return Xids([line["pattern"] for line in lines])
    except (OSError, ValueError, KeyError, TypeError, re.error) as error:
        message = f"the lines of Xids cannot be read ({error}); reinstall the package"
        raise HostLacksError(message) from error
