# SPDX-License-Identifier: Apache-2.0
"""Lines that tell of a death and of no cause: they name none, and are not passed over either."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agent.core.diagnosis.carried.services import ServicesReader
from agent.core.diagnosis.reader import Diagnosis
from agent.core.failures.classes import FailureClass as F
from agent.core.failures.classes import Outcome
from tests.given.engine_logs import DEATH_AT_START, SERVING, SIGNATURES, STARTING, v1

DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."
RECORD = [
    "(APIServer pid=7) ERROR 11-21 03:50:01 [serving.py:901]     outputs = await core.get_output()",
    "(APIServer pid=7) ERROR 11-21 03:50:01 [serving.py:901]               ^^^^^^^^^^^^^^^^^^^^^^^",
    '(APIServer pid=7) ERROR 11-21 03:50:01 [serving.py:901]   File "/opt/venv/lib/python3.12/'
    'site-packages/vllm/v1/engine/core_client.py", line 1, in get_output_async',
    f"(APIServer pid=7) ERROR 11-21 03:50:01 [serving.py:901] vllm.v1.engine.exceptions."
    f"EngineDeadError: {DEAD}",
    '(APIServer pid=7) INFO:     10.0.0.9:40000 - "POST /v1/chat/completions HTTP/1.1" 500 '
    "Internal Server Error",
]
CARRIED: dict[str, Callable[[str], str]] = {
    "plain": lambda line: line,
    "compose": lambda line: f"vllm-1  | {line}",
    "kubectl": lambda line: f"[pod/vllm-0/vllm] {line}",
    "journal": lambda line: f"Nov 21 03:50:01 gpu-1 vllm[7]: {line}",
}


def told(lines: list[str]) -> Diagnosis:
    reader = ServicesReader(SIGNATURES)
    reader.feed_text("\n".join(lines) + "\n")
    return reader.diagnosis()


@pytest.mark.parametrize("carried", CARRIED.values(), ids=list(CARRIED))
def test_a_piece_in_which_only_requests_tell_of_the_death_is_one(
    carried: Callable[[str], str],
) -> None:
    found = told([carried(line) for line in RECORD])

    assert (found.outcome, found.failure) == (Outcome.FAILED, F.ENGINE_DEAD)
    assert found.evidence[0].endswith(DEAD)
    assert "earlier line" in found.advice


def test_a_request_that_speaks_of_a_death_ends_no_server_that_came_up() -> None:
    found = told([*SERVING.strip().split("\n"), RECORD[3]])

    assert (found.outcome, found.failure) == (Outcome.READY, None)


def test_a_request_that_speaks_of_a_death_ends_no_start() -> None:
    found = told([*STARTING.strip().split("\n"), RECORD[3]])

    assert (found.outcome, found.failure) == (Outcome.RUNNING, None)


@pytest.mark.parametrize(
    ("lines", "failure"),
    [
        (
            [
                "My actors die all the time.",
                "The actor is dead because its worker process has died. Worker exit type: X",
                "ray.exceptions.RayActorError: The actor died unexpectedly.",
            ],
            F.WORKER_DIED,
        ),
        (
            [
                "AsyncEngineDeadError of all kinds, collected here",
                "vllm.engine.async_llm_engine.AsyncEngineDeadError: Background loop is stopped.",
            ],
            F.ENGINE_DEAD,
        ),
    ],
)
def test_a_lone_exception_that_tells_of_a_death_is_no_unknown_cause(
    lines: list[str], failure: F
) -> None:
    assert told(lines).failure is failure


STORE = [
    "[rank1]:[W1121 03:50:01.100 TCPStore.cpp:125] [c10d] recvValue failed on SocketImpl(fd=7, "
    "addr=localhost:1, remote=localhost:2): Connection reset by peer",
    "[rank1]:[W1121 03:50:01.101 ProcessGroupNCCL.cpp:1826] [PG ID 0 PG GUID 0 Rank 1] Failed to "
    'check the "should dump" flag on TCPStore, (maybe TCPStore server has shut down too early), '
    "with error: Connection reset by peer",
]


def test_a_store_of_the_ranks_that_is_gone_is_no_fault_of_nccl() -> None:
    """The rank that held it ended first: a new start cures that or not, whatever the network."""
    found = told([*STORE, *DEATH_AT_START.strip().split("\n")])

    assert (found.outcome, found.failure) == (Outcome.FAILED, F.ENGINE_DEAD)
    assert found.transient is not False


def test_a_store_that_goes_with_a_stop_changes_nothing() -> None:
    assert told([*SERVING.strip().split("\n"), *STORE]).outcome is Outcome.READY


def test_a_cause_beside_a_store_that_is_gone_is_the_cause() -> None:
    said = v1(
        "WorkerProc failed to start.\nTraceback (most recent call last):\n"
        "RuntimeError: CUDA error: an illegal memory access was encountered",
        level="ERROR",
    )
    found = told([*STORE, *said.strip().split("\n"), *DEATH_AT_START.strip().split("\n")])

    assert found.failure is F.CUDA_ILLEGAL_MEMORY_ACCESS


def test_a_kernel_that_inductor_made_asserts_as_one_of_torch_s_own_does() -> None:
    found = told(
        [
            "/tmp/torchinductor_odd/ab/cabc.py:12: unknown: block: [0,0,0], thread: [7,0,0] "
            "Assertion `index out of bounds: 0 <= tmp4 < 16` failed."
        ]
    )
    assert (found.outcome, found.failure) == (Outcome.FAILED, F.CUDA_ASSERT)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("ImportError: libodd.so.1: cannot open shared object file: No such file", "apt-file"),
        ("huggingface_hub.errors.CacheNotFound: Cache directory not found: /srv/odd", "HF_HOME"),
        (
            "OSError: It looks like the config file at '/srv/odd' is not a valid JSON file.",
            "GGUF",
        ),
        (
            "ValueError: No valid attention backend found for cuda with AttentionSelectorConfig("
            "head_size=80). Reasons: {FLASH_ATTN: [dtype not supported]}",
            "None was asked for",
        ),
        (
            "1 validation error for OddConfig\nodd\n"
            "  Unexpected keyword argument [type=unexpected_keyword_argument, input_value=3]",
            "take it out",
        ),
    ],
)
def test_the_sentence_says_what_can_be_done_of_this_line(line: str, says: str) -> None:
    assert says in told(line.split("\n")).advice


def test_a_version_of_the_attention_that_is_not_taken_is_no_missing_library() -> None:
    said = (
        "ERROR 11-21 03:05:01 [fa_utils.py:72] Cannot use FA version 2 is not supported due to "
        "FA2 is unavaible due to: libcudart.so.12: cannot open shared object file: "
        "No such file or directory"
    )
    assert told([said, "Starting initial single prompt test run..."]).failure is None
    dies = "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory"
    assert told([said, dies]).failure is F.LIBCUDART_MISSING


def trace_of(file: str, said: str) -> list[str]:
    head = "ERROR 11-21 03:05:09 [core.py:9]"
    return [
        f"{head} Traceback (most recent call last):",
        f'{head}   File "/x/site-packages/{file}", line 1, in _odd',
        f"{head}     self._odd()",
        f"{head} {said}",
    ]


def test_a_kernel_whose_package_is_not_there_asks_for_the_package() -> None:
    said = "TypeError: 'NoneType' object is not callable"
    kernel = told([*STARTING.splitlines(), *trace_of("vllm/v1/attention/backends/odd.py", said)])
    assert kernel.failure is F.PACKAGE_MISMATCH
    assert "could not be imported" in kernel.advice
    own = told([*STARTING.splitlines(), *trace_of("vllm/v1/worker/gpu_model_runner.py", said)])
    assert own.failure is F.ENGINE_BUG


def test_a_name_that_hides_a_package_is_told_as_that() -> None:
    said = "ModuleNotFoundError: No module named 'odd.compiler'; 'odd' is not a package"
    found = told([*STARTING.splitlines(), *trace_of("vllm/v1/worker/gpu_worker.py", said)])
    assert found.failure is F.PACKAGE_MISMATCH
    assert "a file odd.py" in found.advice


def test_what_an_import_prints_of_another_protobuf_ends_nothing() -> None:
    said = "AttributeError: 'MessageFactory' object has no attribute 'GetPrototype'"
    assert told([*STARTING.splitlines(), said, said]).failure is None


@pytest.mark.parametrize(
    "said",
    [
        "openai.BadRequestError: Error code: 400 - {'object': 'error'}",
        "openai.lib._old_api.APIRemovedInV1Error:",
        "litellm.BadRequestError: OpenAIException - 'NoneType' object is not iterable",
    ],
)
def test_what_a_client_throws_is_no_end_of_the_server(said: str) -> None:
    found = told(["Traceback (most recent call last):", '  File "/x/ask.py", line 1, in odd', said])
    assert found.outcome is not Outcome.FAILED


def test_what_a_person_names_as_the_cause_of_a_death_is_the_cause() -> None:
    """No line of the log itself is left but the wrapper's."""
    said = (
        "The start fails: an `ActorDiedError` is triggered by an `AttributeError: 'Odd' object has "
        "no attribute 'odd'`.\n"
        "ray.exceptions.ActorDiedError: The actor died because of an error in its creation task"
    )
    found = told(said.split("\n"))
    assert (found.failure, found.transient) == (F.ENGINE_BUG, False)
    assert found.evidence[0].startswith("AttributeError: 'Odd'")
    vague = said.replace("AttributeError: 'Odd' object has no attribute 'odd'", "odd thing")
    assert told(vague.split("\n")).failure is F.WORKER_DIED
