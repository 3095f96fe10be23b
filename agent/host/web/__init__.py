# SPDX-License-Identifier: Apache-2.0
"""The web configuration file of the metrics port: who may read, and with which certificate."""
