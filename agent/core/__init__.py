# SPDX-License-Identifier: Apache-2.0
"""The pure core: no clock, no file, no thread; only values in and values out."""
