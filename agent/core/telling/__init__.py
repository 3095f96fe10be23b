# SPDX-License-Identifier: Apache-2.0
"""From the news of decisions to few messages: what a person hears, when, and in which words."""
