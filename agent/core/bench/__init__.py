# SPDX-License-Identifier: Apache-2.0
"""Measurements of the live service, compared with a profile and with its own past; sweeps."""
