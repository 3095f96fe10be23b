# SPDX-License-Identifier: Apache-2.0
"""Settings to the text of NAME.service: environment, sandbox, quoting, container."""
