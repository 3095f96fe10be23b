# SPDX-License-Identifier: Apache-2.0
"""Threads that look: each reads one part of the world and puts observations on the queue."""
