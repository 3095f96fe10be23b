# SPDX-License-Identifier: Apache-2.0
"""vLLM on this host: its HTTP API, its installation, its benchmark, its stacks."""
