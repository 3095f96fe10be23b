# SPDX-License-Identifier: Apache-2.0
"""One service over several hosts: what each tells the others, and what follows for its own rank."""
