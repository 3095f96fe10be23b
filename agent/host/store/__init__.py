# SPDX-License-Identifier: Apache-2.0
"""The SQLite file that remembers state and history."""
