# SPDX-License-Identifier: Apache-2.0
"""Other hosts: whether they can be asked, and what they say."""
