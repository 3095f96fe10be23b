# SPDX-License-Identifier: Apache-2.0
"""A first agent.toml: which vLLM suits the driver and card, and which model fits them."""
