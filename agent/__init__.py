# SPDX-License-Identifier: Apache-2.0
"""llmagent: keeps vLLM serving, as configured and proven."""
