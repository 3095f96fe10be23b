# SPDX-License-Identifier: Apache-2.0
"""A service that several hosts serve together: its ranks live and die together."""
