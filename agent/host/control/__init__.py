# SPDX-License-Identifier: Apache-2.0
"""The control socket: who may ask the running agent for something, and both ends of the asking."""
