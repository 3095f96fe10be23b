# SPDX-License-Identifier: Apache-2.0
"""A failure with its numbers to one change, a wait, another try, a new fetch, or a hold."""
