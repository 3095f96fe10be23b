# SPDX-License-Identifier: Apache-2.0
"""Judges what was read of a host: what will fail now or tonight, with the evidence and the fix."""
