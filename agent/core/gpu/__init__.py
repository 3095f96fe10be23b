# SPDX-License-Identifier: Apache-2.0
"""What the driver says of a GPU: readings, clock reasons, temperature, Xid lines."""
