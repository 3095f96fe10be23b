# SPDX-License-Identifier: Apache-2.0
"""What stands at the other end of what an operator asks for."""
