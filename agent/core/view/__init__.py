# SPDX-License-Identifier: Apache-2.0
"""The frozen picture of everything, for status.json, `llmagent status` and the exporter."""
