# SPDX-License-Identifier: Apache-2.0
"""A log in the forms in which people paste and export it."""
