# SPDX-License-Identifier: Apache-2.0
"""What runs a service's container: one interface, and a module for each program."""
