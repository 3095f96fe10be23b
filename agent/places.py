# SPDX-License-Identifier: Apache-2.0
"""Where llmagent's own files lie on a host, as its package and its unit lay them out."""

from __future__ import annotations

from pathlib import Path
from typing import Final

CONFIG_FILE: Final = Path("/etc/llmagent/agent.toml")
"""What the operator writes and llmagent only reads."""

UNIT_DIRECTORY: Final = Path("/etc/llmagent/units")
"""The unit files that llmagent writes; systemd knows them by links."""

OWN_PROFILES: Final = Path("/etc/llmagent/profiles.d")
SHIPPED_PROFILES: Final = Path("/usr/share/llmagent/profiles")
MANUAL_DIRECTORY: Final = Path("/usr/share/llmagent/manual")
"""The manual's pages as HTML, by their names: llmagent-alerts.7.html."""

STATE_DIRECTORY: Final = Path("/var/lib/llmagent")
"""StateDirectory= of llmagent.service; it survives a reboot."""

STORE_FILE: Final = STATE_DIRECTORY / "llmagent.db"
BENCHMARK_DIRECTORY: Final = STATE_DIRECTORY / "bench"
ENGINE_HELP_DIRECTORY: Final = STATE_DIRECTORY / "engine-help"

AHEAD_DIRECTORY: Final = STATE_DIRECTORY / "ahead"
"""A list for each service of what its start reads."""

AHEAD_UNIT: Final = "llmagent-ahead.service"
"""Reads what is listed; a unit of the package."""

AHEAD_REPORT: Final = Path("/run/llmagent-ahead/report")
"""What came of it, in the RuntimeDirectory= of that unit."""

MODELS_DIRECTORY: Final = Path("/var/lib/vllm/huggingface")
"""HF_HOME of a service that names neither a user nor another place."""

RUNTIME_DIRECTORY: Final = Path("/run/llmagent")
"""RuntimeDirectory= of llmagent.service; a reboot empties it."""

AHEAD_WANTED: Final = RUNTIME_DIRECTORY / "ahead"
"""The one service whose files are to be read; without it, as at a boot, those of all are."""

STATUS_FILE: Final = RUNTIME_DIRECTORY / "status.json"
CONTROL_SOCKET: Final = RUNTIME_DIRECTORY / "control" / "socket"
"""Where root and the group llmagent ask the daemon for something."""

REFUSAL_FILE: Final = RUNTIME_DIRECTORY / "refused.json"
"""What was wrong with the agent.toml that a reload has refused."""
