# SPDX-License-Identifier: Apache-2.0
"""A service of several hosts, by a command: what the others say, and what must be alike."""
