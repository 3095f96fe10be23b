# SPDX-License-Identifier: Apache-2.0
"""The published snapshot as Prometheus metric families."""
