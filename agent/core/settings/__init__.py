# SPDX-License-Identifier: Apache-2.0
"""What the operator asks: services, GPUs, engine, profiles; and what a change of it means."""
