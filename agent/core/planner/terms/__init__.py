# SPDX-License-Identifier: Apache-2.0
"""The terms of a plan that have rules of their own: formats of weights, peaks, splits."""
