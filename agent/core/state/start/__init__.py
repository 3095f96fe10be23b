# SPDX-License-Identifier: Apache-2.0
"""What is remembered of how a service starts."""
