# SPDX-License-Identifier: Apache-2.0
"""Ways to reach a person or a dead-man's switch: one interface, a module each."""
