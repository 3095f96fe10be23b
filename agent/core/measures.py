# SPDX-License-Identifier: Apache-2.0
"""How many bytes and seconds the larger measures have."""

from __future__ import annotations

from typing import Final

GIB: Final = 1024**3
"""Bytes; what vLLM prints as "GiB", NVML as "MiB" 1024 times smaller."""

MINUTE_SECONDS: Final = 60.0
HOUR_SECONDS: Final = 3600.0
DAY_SECONDS: Final = 86400.0
