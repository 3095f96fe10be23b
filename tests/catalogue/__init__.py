# SPDX-License-Identifier: Apache-2.0
"""Reads the source of vLLM's releases as the catalogue of what a log may say, and measures."""
