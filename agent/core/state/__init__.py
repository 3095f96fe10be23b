# SPDX-License-Identifier: Apache-2.0
"""What is remembered of services, cards and host; the observations told; the actions wanted."""
