# SPDX-License-Identifier: Apache-2.0
"""Real vLLM runs as a service of a container, and fails for want of memory as it does elsewhere."""

from __future__ import annotations

import re

import pytest

from tests.conftest import Boot
from tests.rig import binds
from tests.rig.container import Container

GIB = 2**30
MODEL = "/srv/models/tiny-llama-awq"
START_SECONDS = 300
ENVIRONMENT = (
    "HOME=/var/lib/vllm XDG_CACHE_HOME=/var/cache/vllm VLLM_CACHE_ROOT=/var/cache/vllm "
    "TORCHINDUCTOR_CACHE_DIR=/var/cache/vllm/inductor NO_COLOR=1 HF_HUB_OFFLINE=1 "
    "VLLM_NO_USAGE_STATS=1"
)


@pytest.fixture(scope="module")
def box(boot_for_module: Boot) -> Container:
    """Returns a machine of 6 GiB, whatever this one has."""
    return boot_for_module("bookworm", binds=[binds.vllm(), binds.models()], memory_limit=6 * GIB)


def start(box: Container, utilization: float) -> str:
    """Starts vLLM and waits until it serves or ends; returns its log."""
    box.run(
        [
            *("systemd-run", "--unit=vllm", "--collect", "--property=User=nobody"),
            *("--property=StateDirectory=vllm", "--property=CacheDirectory=vllm"),
            f"--property=Environment={ENVIRONMENT}",
            *("/opt/vllm/bin/python", "-m", "vllm.entrypoints.openai.api_server"),
            *("--model", MODEL, "--kv-cache-dtype", "fp8", "--max-model-len", "1024"),
            *("--max-num-seqs", "8", "--gpu-memory-utilization", str(utilization)),
        ]
    )
    box.wait_for(
        lambda: (
            box.http_get(8000, "/health").status == 200
            or box.show("vllm.service", "ActiveState")["ActiveState"] in ("failed", "inactive")
        ),
        START_SECONDS,
        "vLLM to serve or to fail",
    )
    return box.journal("vllm.service")


def test_too_high_a_utilization_fails_with_vllms_own_message(box: Container) -> None:
    log = start(box, 0.95)
    found = re.search(
        r"Available memory on node 0 \(([\d.]+)/6\.0 GiB\) on startup is less than desired CPU "
        r"memory utilization \(0\.95, 5\.7 GiB\)",
        log,
    )
    assert found is not None, log
    assert 3.0 < float(found.group(1)) < 5.7
    assert "Engine core initialization failed. See root cause above." in log


def test_awq_weights_with_an_fp8_kv_cache_are_served(box: Container) -> None:
    log = start(box, 0.4)
    assert "kv_cache_dtype=fp8," in log
    assert "Using CPUWNA16LinearKernel for AutoAWQMarlinLinearMethod" in log
    available = re.findall(r"Auto set \(([\d.]+)/6\.0\) GiB for KV cache", log)
    tokens = re.findall(r"KV cache size: ([\d,]+) tokens", log)
    bytes_per_token = float(available[-1]) * GIB / int(tokens[-1].replace(",", ""))
    # Two layers, keys and values, two heads of 64: 512 bytes at one byte each.
    assert bytes_per_token == pytest.approx(512, rel=0.01)
    answer = box.http_post(
        8000, "/v1/completions", {"model": MODEL, "prompt": "def main(", "max_tokens": 8}
    )
    assert answer.status == 200, answer
    assert '"completion_tokens":8' in answer.body
    box.run(["systemctl", "stop", "vllm.service"], timeout=90)
