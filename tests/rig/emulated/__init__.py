# SPDX-License-Identifier: Apache-2.0
"""Machines of other processors, whose programs an emulator runs."""
