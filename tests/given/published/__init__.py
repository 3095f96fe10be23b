# SPDX-License-Identifier: Apache-2.0
"""Deployments, and starts of vLLM with the figures it printed, as others published them."""
