# SPDX-License-Identifier: Apache-2.0
"""The judges: each looks at one thing and changes the turn; what all of them share is `turn`."""
