# SPDX-License-Identifier: Apache-2.0
"""What of a model comes from the hub, the unit that fetches it, and what its program says."""
