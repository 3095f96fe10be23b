# SPDX-License-Identifier: Apache-2.0
"""Commands that write a first agent.toml: from an engine that runs already, or from the host."""
