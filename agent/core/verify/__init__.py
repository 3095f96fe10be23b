# SPDX-License-Identifier: Apache-2.0
"""What was asked against what runs, item by item, with the evidence."""
