# SPDX-License-Identifier: Apache-2.0
"""Engines that others start, read from units, scripts, containers and lines."""
