# SPDX-License-Identifier: Apache-2.0
"""What carried the lines of a log, and which of several services wrote each."""
