# SPDX-License-Identifier: Apache-2.0
"""Models on disk: config.json, checkpoint files, the hub's cache, and the shipped facts."""
