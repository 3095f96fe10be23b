# SPDX-License-Identifier: Apache-2.0
"""Data only: what vLLM's log lines mean, one TOML file a subject. No Python is needed to add one."""
