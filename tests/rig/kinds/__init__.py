# SPDX-License-Identifier: Apache-2.0
"""Tiny models of each kind of work that vLLM does."""
