# SPDX-License-Identifier: Apache-2.0
"""What a command line of vLLM asks of memory: what is reckoned with, and what is not known."""
