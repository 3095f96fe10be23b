# SPDX-License-Identifier: Apache-2.0
"""The daemon: sources, one queue, one deciding thread, lanes that act."""
