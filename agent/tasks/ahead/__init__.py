# SPDX-License-Identifier: Apache-2.0
"""What a start of a service reads: noted while it serves, and read ahead of its next start."""
