# SPDX-License-Identifier: Apache-2.0
"""Unit tests of `agent.tasks.beginning`, and of what it looks at."""
