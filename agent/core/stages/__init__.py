# SPDX-License-Identifier: Apache-2.0
"""Where the seconds of a start go: its stages, how long each took, and how long each takes."""
