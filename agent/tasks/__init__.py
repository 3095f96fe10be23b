# SPDX-License-Identifier: Apache-2.0
"""What a command, or the daemon, does once with the host, and then ends."""
