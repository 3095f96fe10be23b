# SPDX-License-Identifier: Apache-2.0
"""Runs the program that tells a person, as a transient unit with a user and a file of its own."""
