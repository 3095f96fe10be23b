# SPDX-License-Identifier: Apache-2.0
"""What is remembered of what a person is to be told, and how the sending of it goes."""
