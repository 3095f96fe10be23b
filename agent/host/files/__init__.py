# SPDX-License-Identifier: Apache-2.0
"""Files that belong to somebody else: read as plain files of bounded size, or not at all."""
