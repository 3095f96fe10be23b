# SPDX-License-Identifier: Apache-2.0
"""agent.toml to a frozen Config, or every mistake in it at once."""
