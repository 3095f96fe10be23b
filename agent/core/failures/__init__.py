# SPDX-License-Identifier: Apache-2.0
"""The failure classes, who can cure them, and what a person must do."""
