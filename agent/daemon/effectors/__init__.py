# SPDX-License-Identifier: Apache-2.0
"""Threads that act: each carries out recorded actions and reports how they ended."""
