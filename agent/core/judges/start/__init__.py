# SPDX-License-Identifier: Apache-2.0
"""Judges what a start still waits for: gates, leftovers, the plan, the model's files."""
