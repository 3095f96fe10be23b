# SPDX-License-Identifier: Apache-2.0
"""The program that asks other hosts for the status page."""
