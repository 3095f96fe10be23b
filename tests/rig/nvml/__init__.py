# SPDX-License-Identifier: Apache-2.0
"""The simulated GPUs: libnvidia-ml.so.1 in C, and the programs that drive it and read it.

The Python modules need nothing but the standard library (and pynvml for nvidia-smi), so that they
also run inside a machine, where the directory is called /opt/nvsim.
"""
