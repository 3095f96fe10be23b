# SPDX-License-Identifier: Apache-2.0
"""Judges whether the NVIDIA driver's library and module match, and tells it."""
