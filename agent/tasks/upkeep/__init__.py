# SPDX-License-Identifier: Apache-2.0
"""What is tidied up on the host once a day."""
