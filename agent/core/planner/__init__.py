# SPDX-License-Identifier: Apache-2.0
"""Memory arithmetic before a start: what a model takes of a GPU, and what is left for its KV."""
