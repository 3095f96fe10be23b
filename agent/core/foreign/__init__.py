# SPDX-License-Identifier: Apache-2.0
"""An engine that somebody else starts, by a unit, a container or a line, as a [service] table."""
