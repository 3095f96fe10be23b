# SPDX-License-Identifier: Apache-2.0
"""Engines that others start: looked for, taken into agent.toml, and taken over."""
