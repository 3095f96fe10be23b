# SPDX-License-Identifier: Apache-2.0
"""Lines of any vLLM log to facts, phase and failure class."""
