# SPDX-License-Identifier: Apache-2.0
"""What a card is held to: one automaton (asked, read back, given up, again), a lever a module."""
