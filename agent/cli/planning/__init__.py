# SPDX-License-Identifier: Apache-2.0
"""The parts of `llmagent plan`: what is asked, on what ground, and how it is shown."""
