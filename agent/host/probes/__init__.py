# SPDX-License-Identifier: Apache-2.0
"""Reads what the doctor judges: files of /proc, /etc and the model, and a few short commands."""
