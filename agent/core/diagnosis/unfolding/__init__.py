# SPDX-License-Identifier: Apache-2.0
"""The lines of a log that was pasted or exported in another form than its own."""
