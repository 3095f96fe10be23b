# SPDX-License-Identifier: Apache-2.0
"""Stands in for setuptools where pip only asks an sdist for its metadata."""
