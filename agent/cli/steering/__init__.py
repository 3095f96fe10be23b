# SPDX-License-Identifier: Apache-2.0
"""Commands that ask the running agent for something, over its control socket."""
