# SPDX-License-Identifier: Apache-2.0
"""Several hosts on one screen: how they are named and asked, and the table of what they say."""
