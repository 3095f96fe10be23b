# SPDX-License-Identifier: Apache-2.0
"""All input and output; each adapter stands alone and gets plain values."""
