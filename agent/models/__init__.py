# SPDX-License-Identifier: Apache-2.0
"""DATA: what memory arithmetic needs of well-known models."""
