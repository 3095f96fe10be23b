# SPDX-License-Identifier: Apache-2.0
"""Cards by name: the memory that their driver shows, what they compute, how fast they read."""
