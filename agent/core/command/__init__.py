# SPDX-License-Identifier: Apache-2.0
"""A command line of vLLM read as vLLM reads it: keys, arguments, config file, environment."""
