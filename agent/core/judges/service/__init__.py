# SPDX-License-Identifier: Apache-2.0
"""Judges the unit's state: came up, went down, taken over, agent started, new agent.toml."""
