# SPDX-License-Identifier: Apache-2.0
"""What a program that runs containers has on this host: one interface, a module for each."""
