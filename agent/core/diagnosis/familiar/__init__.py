# SPDX-License-Identifier: Apache-2.0
"""Lines that differ from ones that were read only in their numbers, and say nothing by them."""
