# SPDX-License-Identifier: Apache-2.0
"""Fuzzers of every border: what strangers may say, generated, with a corpus of what once hurt."""
