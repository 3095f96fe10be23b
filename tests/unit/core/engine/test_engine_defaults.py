# SPDX-License-Identifier: Apache-2.0
"""What vLLM takes unasked, by release, memory and name of the card."""

from __future__ import annotations

import pytest

from agent.core.engine.defaults import (
    NEWEST,
    Batch,
    Device,
    batch_of,
    default_utilization,
    forces_slow_kernel,
    release_or_newest,
)

H100, B200 = Device(79.18, "NVIDIA H100 80GB HBM3"), Device(178.35, "NVIDIA B200")
A100 = Device(79.15, "NVIDIA A100-SXM4-80GB")
ADA, GB10 = Device(23.5, "NVIDIA GeForce RTX 4090"), Device(121.7, "NVIDIA GB10")


def taken(version: str, device: Device, length: int = 32768) -> tuple[int, int]:
    batch = batch_of(release_or_newest(version), device, length, None, None)
    return batch.tokens, batch.sequences


@pytest.mark.parametrize(
    ("version", "device", "expected"),
    [
        ("0.32.0", ADA, (2048, 256)),
        ("0.32.0", H100, (8192, 1024)),
        ("0.32.0", A100, (2048, 256)),
        ("0.32.0", B200, (16384, 1024)),
        # 0.27.1 knows no cards of 160 GiB, 0.28.0 does.
        ("0.27.1", B200, (8192, 1024)),
        ("0.28.0", B200, (16384, 1024)),
        # 0.8.5 has no exception for the A100, 0.8.4 knows the H100 by its name alone.
        ("0.8.5", A100, (8192, 1024)),
        ("0.8.4", A100, (2048, 256)),
        ("0.8.4", H100, (8192, 256)),
        # NVML tells no size of unified memory: vLLM takes what it takes for a small card.
        ("0.13.0", GB10, (2048, 256)),
        ("0.33.0", GB10, (2048, 256)),
        ("0.32.0", Device(122.8, "NVIDIA Thor"), (2048, 256)),
        # V0 prefills whole prompts, up to 32 Ki tokens.
        ("0.7.3", H100, (32768, 256)),
    ],
)
def test_the_batch_that_vllm_takes_unasked(
    version: str, device: Device, expected: tuple[int, int]
) -> None:
    assert taken(version, device) == expected


@pytest.mark.parametrize(
    ("version", "counts_as"),
    [
        ("0.19.2rc1.dev206+g0123abc", (0, 20)),
        ("0.19.2rc1.dev8", (0, 19, 1, 1)),
        ("0.20.1", (0, 20, 1)),
        ("0.20.0rc1.dev500", (0, 20, 0)),
        ("0.33.2rc1.dev300", NEWEST),
        ("nothing", NEWEST),
    ],
)
def test_a_build_of_the_main_branch_is_the_release_that_it_becomes(
    version: str, counts_as: tuple[int, ...]
) -> None:
    assert release_or_newest(version) == counts_as


def test_a_batch_holds_no_more_than_all_sequences_at_full_length() -> None:
    batch = batch_of((0, 32), H100, max_model_len=512, max_num_batched_tokens=None, max_num_seqs=4)
    assert batch == Batch(tokens=2048, sequences=4)
    assert batch_of((0, 11), H100, 512, None, 4).tokens == 8192


def test_what_is_asked_for_is_taken() -> None:
    assert batch_of((0, 32), H100, 4096, 4096, 16) == Batch(4096, 16)
    assert batch_of((0, 32), H100, 4096, 512, None) == Batch(512, 512)


def test_a_build_on_the_way_to_a_patch_release_is_older_than_it() -> None:
    assert release_or_newest("0.20.1rc1.dev16") < release_or_newest("0.20.1")
    assert release_or_newest("0.20.1rc1.dev16") > release_or_newest("0.20.0")
    assert release_or_newest("0.19.2rc1.dev8") < (0, 20)


@pytest.mark.parametrize("version", [None, "", "latest", "0.1.dev5+gabc"])
def test_a_version_that_says_nothing_counts_as_the_newest(version: str | None) -> None:
    assert default_utilization(version) == 0.92


def test_the_slow_kernel_is_forced_up_to_the_release_that_no_longer_does() -> None:
    assert forces_slow_kernel("awq", "0.23.0")
    assert not forces_slow_kernel("awq", "0.24.0")
    assert not forces_slow_kernel("awq_marlin", "0.16.0")
    assert not forces_slow_kernel("gptq", None)
