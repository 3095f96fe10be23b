# SPDX-License-Identifier: Apache-2.0
"""README's table of what llmagent costs: kept by each benchmark as it ends, written from that."""
