# SPDX-License-Identifier: Apache-2.0
"""Tests of the forms in which people paste and export a log."""
