# SPDX-License-Identifier: Apache-2.0
"""What commands show on a terminal, one part of the screen a module."""
