# SPDX-License-Identifier: Apache-2.0
"""Fetches a model from the hub, apart from serving: a program of the service's own Python.

Runs as the service's user with huggingface_hub and the standard library (3.9 and later); imports
nothing else of the agent. What it says is read by agent.core.hub.progress.
"""
