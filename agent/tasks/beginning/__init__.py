# SPDX-License-Identifier: Apache-2.0
"""What `llmagent init` does with the host: a look, an environment for vLLM, a first table."""
