# SPDX-License-Identifier: Apache-2.0
"""Judges who holds memory on a service's GPUs: processes, and services that share a card."""
