# SPDX-License-Identifier: Apache-2.0
"""Commands inside other texts: shell scripts, Makefiles, and what a terminal or ssh is handed."""
