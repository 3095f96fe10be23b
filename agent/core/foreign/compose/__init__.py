# SPDX-License-Identifier: Apache-2.0
"""Compose files: what a project's services are over all of its files, and which run vLLM."""
