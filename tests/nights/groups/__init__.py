# SPDX-License-Identifier: Apache-2.0
"""Nights of a group of hosts that serve one model together, with partitions."""
