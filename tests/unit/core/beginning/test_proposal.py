# SPDX-License-Identifier: Apache-2.0
"""A model is proposed on as few cards as hold it; a release of vLLM suits driver and card."""

from dataclasses import replace

import pytest

from agent.core.beginning.proposal import OnDisk, Proposal, Unfit, propose
from agent.core.beginning.release import Release, release_for
from agent.core.gpu.reading import Gpu, GpuMemory
from agent.core.planner.question import Fit
from agent.host.models.known import known_config
from tests.given.some_gpus import GIB, H200


def cards(count: int, gib: float = 140.4, capability: str = "9.0") -> list[Gpu]:
    memory = GpuMemory(int(gib * GIB), 0, int(gib * GIB))
    card = replace(H200, memory=memory, compute_capability=capability)
    return [replace(card, index=index, uuid=f"GPU-{index}") for index in range(count)]


def known(name: str) -> OnDisk:
    config = known_config(name)
    assert config is not None
    return OnDisk(name, config)


def test_a_small_model_takes_one_card_and_its_own_length() -> None:
    found = propose(known("meta-llama/Llama-3.1-8B-Instruct"), cards(8), "0.32.0")
    assert isinstance(found, Proposal)
    assert found.tensor_parallel_size == 1
    assert found.max_model_len is None
    assert found.plan.verdict is Fit.FITS


def test_a_large_model_takes_as_few_cards_as_hold_it() -> None:
    found = propose(known("meta-llama/Llama-3.3-70B-Instruct"), cards(8, gib=79.2), "0.32.0")
    assert isinstance(found, Proposal)
    assert found.tensor_parallel_size in (2, 4)
    assert found.plan.verdict is Fit.FITS


def test_a_length_that_does_not_fit_is_shortened_with_the_errors_reckoned_in() -> None:
    found = propose(known("meta-llama/Llama-3.1-8B-Instruct"), cards(1, gib=23.6), "0.32.0")
    assert isinstance(found, Proposal)
    assert found.max_model_len is not None
    assert 1024 <= found.max_model_len < 131072
    assert found.max_model_len % 1024 == 0
    assert found.plan.max_model_len == found.max_model_len
    assert found.plan.low_gib >= found.plan.needed_kv_gib


def test_what_fits_no_card_is_told_with_the_reason() -> None:
    found = propose(known("meta-llama/Llama-3.3-70B-Instruct"), cards(1, gib=23.6), "0.32.0")
    assert isinstance(found, Unfit)
    assert found.is_known
    assert "GiB" in found.why


def test_what_cannot_be_reckoned_is_not_called_unfit() -> None:
    found = propose(OnDisk("a/b", {"architectures": ["Nothing"]}), cards(1), None)
    assert isinstance(found, Unfit)
    assert not found.is_known


@pytest.mark.parametrize(
    ("driver", "capability", "requirement"),
    [
        ("580.82.07", "9.0", "vllm==0.33.*"),
        ("595.10", "12.0", "vllm==0.33.*"),
        ("580.65", None, "vllm==0.33.*"),
        ("570.172.08", "8.9", "vllm==0.19.*"),
        ("580.82.07", "7.0", "vllm==0.19.*"),
    ],
)
def test_the_newest_release_that_runs_on_driver_and_card_is_chosen(
    driver: str, capability: str | None, requirement: str
) -> None:
    release = release_for(driver, capability)
    assert isinstance(release, Release)
    assert release.requirement == requirement


@pytest.mark.parametrize(
    ("driver", "capability", "why"),
    [
        ("535.183.01", "9.0", "driver 535.183.01 is too old"),
        ("580.82.07", "6.1", "6.1 are too old"),
        ("", None, "not known"),
    ],
)
def test_where_no_release_runs_it_is_said_what_is_too_old(
    driver: str, capability: str | None, why: str
) -> None:
    assert why in str(release_for(driver, capability))
