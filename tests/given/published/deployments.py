# SPDX-License-Identifier: Apache-2.0
"""Two deployments of Llama 3 as their authors publish them, each option with its published value.

GB10 (DGX Spark): the compose service of Stravica's nvidia-spark (docs/vllm/llama31-8b-fp8.md,
commit 63b2f190, 2026-08-18): NVIDIA's image 25.09, the host's shared memory, no limit on locked
memory, 64 MiB of stack, the hub's cache from /opt/hf, all GPUs. The options that NVIDIA's own
playbook gives (dgx-spark-playbooks, nvidia/vllm/README.md, commit 0db7c141) are among them.

RTX 4000 Ada of 20 GB: the `docker run` line of DevOpsCube's guide to Llama 3 with Docker and vLLM
(devopscube.com/deploying-llama-with-docker-and-vllm): nvidia made docker's default runtime, the
host's shared memory, the hub's cache from the home, 0.90 of the card, FP8, and 128 sequences, which
are its knee.
"""

from __future__ import annotations

import shlex
from typing import Final

TOKEN: Final = "hf_publishedwithout"

GB10_COMPOSE: Final = """\
services:
  vllm-llama31-8b-fp8:
    image: nvcr.io/nvidia/vllm:25.09-py3
    container_name: vllm-llama31-8b-fp8
    restart: unless-stopped
    ipc: host
    ulimits: {memlock: -1, stack: 67108864}
    ports: ["8000:8000"]
    volumes: ["/opt/hf:/root/.cache/huggingface"]
    environment: {HF_TOKEN: "${HF_TOKEN}", HUGGING_FACE_HUB_TOKEN: "${HF_TOKEN}"}
    deploy:
      resources:
        reservations:
          devices: [{driver: nvidia, count: all, capabilities: [gpu]}]
    command:
      - vllm
      - serve
      - nvidia/Llama-3.1-8B-Instruct-FP8
      - --download-dir
      - /root/.cache/huggingface
      - --max-model-len
      - "32768"
      - --gpu-memory-utilization
      - "0.90"
      - --max-num-batched-tokens
      - "16384"
      - --max-num-seqs
      - "64"
      - --enable-prefix-caching
      - --trust-remote-code
"""

ADA_LINE: Final = tuple(
    shlex.split(
        "docker run --runtime nvidia --gpus all --name llama"
        " -v /home/me/.cache/huggingface:/root/.cache/huggingface"
        f" --env HF_TOKEN={TOKEN} -p 8000:8000 --ipc=host -d vllm/vllm-openai:latest"
        " --model meta-llama/Meta-Llama-3-8B-Instruct --quantization fp8"
        " --gpu-memory-utilization 0.90 --max-num-seqs 128"
    )
)
