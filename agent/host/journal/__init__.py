# SPDX-License-Identifier: Apache-2.0
"""journald: lines of units and of the kernel, and the place up to which they were read."""
