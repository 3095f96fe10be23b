# SPDX-License-Identifier: Apache-2.0
"""This host: boot, cgroups, disks, access rights, and one lock for one agent."""
