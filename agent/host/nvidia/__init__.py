# SPDX-License-Identifier: Apache-2.0
"""The NVIDIA driver: NVML through nvidia-ml-py, nvidia-smi, and the files of the driver."""
