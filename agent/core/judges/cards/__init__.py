# SPDX-License-Identifier: Apache-2.0
"""Judges the GPUs, a concern a module: power, heat, clocks, persistence, throttling, Xids."""
