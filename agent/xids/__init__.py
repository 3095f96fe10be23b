# SPDX-License-Identifier: Apache-2.0
"""Data only: how the NVIDIA driver reports errors in the kernel log, and what they mean."""
