# SPDX-License-Identifier: Apache-2.0
"""Starts of vLLM that were published with the figures it printed, which the planner is held to."""
