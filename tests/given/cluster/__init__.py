# SPDX-License-Identifier: Apache-2.0
"""Hosts that serve together, as their settings say it."""
