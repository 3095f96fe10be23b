# SPDX-License-Identifier: Apache-2.0
"""A card's temperature against its thresholds.

Ada and later cards give degrees that are left ("T.Limit"), others absolute thresholds, which of the
two depends on driver and VBIOS; both are asked, neither is trusted to exist.
"""

from __future__ import annotations

from agent.core.gpu.reading import Gpu
from agent.core.settings.gpus import Thermal

BELOW_SLOWDOWN_CELSIUS = 5.0
"""Where a card tells only where it slows down, it is warm this far below."""


def warning_celsius(gpu: Gpu, thermal: Thermal) -> float | None:
    """Return where the card counts as warm: as asked, else its highest operating temperature."""
    if thermal.warning_celsius is not None:
        return thermal.warning_celsius
    operating = threshold(gpu, "max_operating")
    if operating is not None:
        return operating
    slowdown = critical_celsius(gpu, thermal)
    return None if slowdown is None else slowdown - BELOW_SLOWDOWN_CELSIUS


def critical_celsius(gpu: Gpu, thermal: Thermal) -> float | None:
    """Return where the card counts as too hot: as asked, else where hardware slows it down."""
    if thermal.critical_celsius is not None:
        return thermal.critical_celsius
    return threshold(gpu, "slowdown")


def above_warning(gpu: Gpu, thermal: Thermal) -> float | None:
    """Return how many degrees the card is above where it counts as warm; negative below."""
    past = _above_by_margin(gpu, "max_operating")
    if thermal.warning_celsius is None and past is not None:
        return past
    return _above(gpu, warning_celsius(gpu, thermal))


def above_critical(gpu: Gpu, thermal: Thermal) -> float | None:
    """Return how many degrees the card is above where it counts as too hot; negative below."""
    past = _above_by_margin(gpu, "slowdown")
    if thermal.critical_celsius is None and past is not None:
        return past
    return _above(gpu, critical_celsius(gpu, thermal))


def _above(gpu: Gpu, limit: float | None) -> float | None:
    if limit is None or gpu.temperature_celsius is None:
        return None
    return gpu.temperature_celsius - limit


def _above_by_margin(gpu: Gpu, name: str) -> float | None:
    """Return the same from the degrees that are left, for a card without the absolute threshold.

    They are read less often than the temperature, so the two must not be added up to judge.
    """
    if name in gpu.thresholds_celsius:
        return None
    left, at = gpu.margin_celsius, gpu.margin_thresholds_celsius.get(name)
    return None if left is None or at is None else at - left


def threshold(gpu: Gpu, name: str) -> float | None:
    """Return a threshold in degrees Celsius, also of a card that tells only what is left to it."""
    absolute = gpu.thresholds_celsius.get(name)
    if absolute is not None:
        return absolute
    left, at = gpu.margin_celsius, gpu.margin_thresholds_celsius.get(name)
    if gpu.temperature_celsius is None or left is None or at is None:
        return None
    return gpu.temperature_celsius + left - at
