# SPDX-License-Identifier: Apache-2.0
"""The version of llmagent; pyproject.toml and the package's changelog are tested to agree."""

from __future__ import annotations

VERSION = "0.1.0"
