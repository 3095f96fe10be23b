# SPDX-License-Identifier: Apache-2.0
"""What no signature names is placed by its traceback: modules, exception, words and phase."""
