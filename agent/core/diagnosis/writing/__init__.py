# SPDX-License-Identifier: Apache-2.0
"""What of the answer to whose words a line of a log holds is data, and what hangs on tracebacks."""
