# SPDX-License-Identifier: Apache-2.0
"""Judges a run that ended: names the cause, spends a remedy, rolls back, tries upwards at night."""
