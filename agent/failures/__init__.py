# SPDX-License-Identifier: Apache-2.0
"""Data only: the failure classes, one entry each."""
