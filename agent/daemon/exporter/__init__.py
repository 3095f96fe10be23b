# SPDX-License-Identifier: Apache-2.0
"""The metrics port: HTTP with TLS and passwords, and the text format."""
