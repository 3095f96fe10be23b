# SPDX-License-Identifier: Apache-2.0
"""What an earlier start on the same host teaches the next plan."""
