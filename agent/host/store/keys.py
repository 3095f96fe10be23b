# SPDX-License-Identifier: Apache-2.0
"""Keys of the state table that other programs than the daemon read."""

from __future__ import annotations

LAST_GOOD_CONFIG = "config"
"""The text of the agent.toml that was last in force, as JSON."""
