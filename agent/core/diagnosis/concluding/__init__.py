# SPDX-License-Identifier: Apache-2.0
"""From the story of a run to what it came to: the cause, what an allocation lacked, what to do."""
