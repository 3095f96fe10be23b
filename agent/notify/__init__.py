# SPDX-License-Identifier: Apache-2.0
"""The program that tells a person, for seconds and as a user of its own, apart from the agent."""
