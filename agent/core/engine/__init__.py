# SPDX-License-Identifier: Apache-2.0
"""vLLM itself: versions, flags, names, command line, /metrics, and the answers of its API."""
