# SPDX-License-Identifier: Apache-2.0
"""What an operator asks of the running agent, and what is remembered of it."""
