# SPDX-License-Identifier: Apache-2.0
"""The last hours of services and GPUs, minute by minute, in memory of a fixed size."""
