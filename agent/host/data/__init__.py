# SPDX-License-Identifier: Apache-2.0
"""Readers of shipped data: signatures, Xids, profiles, and stored benchmarks."""
