# SPDX-License-Identifier: Apache-2.0
"""Judges life: whether a start still moves, and whether a serving engine still gives tokens."""
