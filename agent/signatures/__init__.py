# SPDX-License-Identifier: Apache-2.0
"""Data only: what vLLM's log lines mean, one TOML file a subject; a new one needs no Python."""
