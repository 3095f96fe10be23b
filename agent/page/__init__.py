# SPDX-License-Identifier: Apache-2.0
"""The status page: HTML, CSS and JavaScript as they are sent to a browser."""
