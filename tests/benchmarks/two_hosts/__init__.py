# SPDX-License-Identifier: Apache-2.0
"""One model over two booted machines on real vLLM, and what befalls them."""
