# SPDX-License-Identifier: Apache-2.0
"""Where the seconds of a start go, by vLLM's own lines: every era, every device, many ranks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.diagnosis.reader import LogReader
from agent.core.stages.book import StageBook, StagesSeen
from agent.core.stages.stage import ORDER, SAID, Stage
from agent.core.stages.told import compared, compiled_again, usual
from agent.host.data.signatures import load_signatures
from tests.catalogue.beside import rows

S = Stage
SIGNATURES = load_signatures()


def read(lines: list[tuple[float, str]], began: float = 0.0) -> StagesSeen:
    """Reads a log whose lines were written at these seconds after the process was started."""
    reader = LogReader(SIGNATURES)
    reader.began(began)
    for at, line in lines:
        reader.feed(line, began + at)
    return reader.stages


def by_name(seen: StagesSeen) -> dict[str, float]:
    return {stage.value: round(seconds, 2) for stage, seconds in seen.seconds.items()}


def transcript(text: str) -> list[tuple[float, str]]:
    """Returns lines of "SECONDS LINE"; one that ends with a backslash goes on in the next."""
    lines = text.replace("\\\n", "").strip("\n").splitlines()
    return [(float(line[:5]), line[6:]) for line in lines]


# 0.6.3: one process and no prefix
V0_GPU = transcript(
    r"""
  9.0 INFO 11-12 10:00:09 api_server.py:528] vLLM API server version 0.6.3.post1
  9.1 INFO 11-12 10:00:09 api_server.py:529] args: Namespace(host=None, port=8000, model='m')
 12.0 INFO 11-12 10:00:12 llm_engine.py:237] Initializing an LLM engine (v0.6.3.post1) with conf\
ig: model='m'
 15.0 INFO 11-12 10:00:15 model_runner.py:1056] Starting to load model m...
 40.0 INFO 11-12 10:00:40 model_runner.py:1067] Loading model weights took 14.9888 GB
 43.0 INFO 11-12 10:00:43 gpu_executor.py:122] # GPU blocks: 1330, # CPU blocks: 2048
 44.0 INFO 11-12 10:00:44 model_runner.py:1395] Capturing the model for CUDA graphs.
 58.0 INFO 11-12 10:00:58 model_runner.py:1523] Graph capturing finished in 14 secs.
 60.0 INFO:     Application startup complete.
"""
)

# 0.11 on one GPU: the engine has its own process, no worker has
V1_GPU = transcript(
    r"""
  8.0 (APIServer pid=7) INFO 11-21 03:00:08 [api_server.py:1839] vLLM API server version 0.11.0
  8.1 (APIServer pid=7) INFO 11-21 03:00:08 [utils.py:233] non-default args: {'model': 'm'}
 10.0 (APIServer pid=7) INFO 11-21 03:00:10 [model.py:547] Resolved architecture: Llama
 10.2 (APIServer pid=7) INFO 11-21 03:00:10 [model.py:1510] Using max model len 8192
 10.5 (APIServer pid=7) INFO 11-21 03:00:10 [scheduler.py:205] Chunked prefill is enabled with m\
ax_num_batched_tokens=2048.
 17.5 (EngineCore_DP0 pid=9) INFO 11-21 03:00:17 [core.py:77] Initializing a V1 LLM engine (v0.1\
1.0) with config: model='m'
 20.0 (EngineCore_DP0 pid=9) INFO 11-21 03:00:20 [gpu_model_runner.py:2602] Starting to load mod\
el m...
 50.0 (EngineCore_DP0 pid=9) INFO 11-21 03:00:50 [default_loader.py:267] Loading weights took 29\
.52 seconds
 51.0 (EngineCore_DP0 pid=9) INFO 11-21 03:00:51 [gpu_model_runner.py:2653] Model loading took 1\
4.9889 GiB and 30.5 seconds
 53.0 (EngineCore_DP0 pid=9) INFO 11-21 03:00:53 [backends.py:548] Using cache directory: /c/tor\
ch_compile_cache/ab/rank_0_0/backbone for vLLM's torch.compile
 61.0 (EngineCore_DP0 pid=9) INFO 11-21 03:01:01 [backends.py:559] Dynamo bytecode transform tim\
e: 8.10 s
 65.0 (EngineCore_DP0 pid=9) INFO 11-21 03:01:05 [backends.py:164] Directly load the compiled gr\
aph(s) for dynamic shape from the cache, took 3.900 s
 66.0 (EngineCore_DP0 pid=9) INFO 11-21 03:01:06 [monitor.py:34] torch.compile takes 12.00 s in \
total
 69.0 (EngineCore_DP0 pid=9) INFO 11-21 03:01:09 [gpu_worker.py:298] Available KV cache memory: \
5.10 GiB
 69.5 (EngineCore_DP0 pid=9) INFO 11-21 03:01:09 [kv_cache_utils.py:1087] GPU KV cache size: 41,\
792 tokens
 72.0 Capturing CUDA graphs (decode, FULL):   0%|          | 0/67
 80.0 Capturing CUDA graphs (decode, FULL): 100%|##########| 67/67
 82.0 (EngineCore_DP0 pid=9) INFO 11-21 03:01:22 [gpu_model_runner.py:3480] Graph capturing fini\
shed in 10 secs, took 0.50 GiB
 82.5 (EngineCore_DP0 pid=9) INFO 11-21 03:01:22 [core.py:210] init engine (profile, create kv c\
ache, warmup model) took 31.5 seconds
 85.0 (APIServer pid=7) INFO:     Application startup complete.
"""
)


@pytest.mark.parametrize("row", rows("harmless.tsv"))
def test_what_a_server_survives_costs_no_stage_before_its_first_word(row: str) -> None:
    said = row.split("\t", 1)[1].replace("⏎", "\n").split("\n")
    for lines in (V0_GPU, V1_GPU):
        before = [(0.1, line) for line in said]
        assert read([*before, *lines]).seconds == read(lines).seconds


def test_an_engine_of_one_process_has_no_stage_for_others() -> None:
    assert by_name(read(V0_GPU)) == {
        "imports": 9.1,
        "engine-core": 2.9,
        "workers": 3.0,
        "weights": 25.0,
        "kv-cache": 4.0,
        "graphs": 14.0,
        "server": 2.0,
    }


def test_an_engine_with_its_own_process_on_one_gpu() -> None:
    seen = read(V1_GPU, began=1_000_000.0)
    assert by_name(seen) == {
        "imports": 8.1,
        "configuration": 2.4,
        "engine-core": 7.0,
        "workers": 2.5,
        "weights": 31.0,
        "profile": 2.0 + 3.0,
        "compile": 13.0,
        "kv-cache": 0.5 + 2.5,
        "warm-up": 0.5,
        "graphs": 10.0,
        "server": 2.5,
    }
    assert seen.now is None


@pytest.mark.parametrize("log", [V0_GPU, V1_GPU], ids=["V0", "V1"])
def test_the_stages_are_together_as_long_as_the_start(log: list[tuple[float, str]]) -> None:
    assert sum(read(log).seconds.values()) == pytest.approx(log[-1][0])


@pytest.mark.parametrize("log", [V0_GPU, V1_GPU], ids=["V0", "V1"])
def test_a_log_without_times_is_read_by_vllms_own_stamps(log: list[tuple[float, str]]) -> None:
    reader = LogReader(SIGNATURES)
    for _, line in log:
        reader.feed(line)
    # The first line begins the count; bars and uvicorn's lines have no stamp but the last one.
    for stage, seconds in read(log).seconds.items():
        if stage not in (S.IMPORTS, S.SERVER):
            assert reader.stages.seconds[stage] == pytest.approx(seconds, abs=3.1)


def test_while_a_stage_goes_on_it_is_known_since_when() -> None:
    seen = read(V1_GPU[:10], began=100.0)
    assert (seen.now, seen.since) == (S.COMPILE, 153.0)
    assert S.COMPILE not in seen.seconds


def test_the_slowest_rank_tells_how_long_the_weights_took() -> None:
    def worker(rank: int, text: str) -> str:
        return f"(Worker_TP{rank} pid={rank + 20}) INFO 11-21 03:00:00 [x.py:1] {text}"

    seen = read(
        [
            (20.0, worker(0, "Starting to load model m...")),
            (21.0, worker(1, "Starting to load model m...")),
            (60.0, worker(0, "Model loading took 70.1 GiB and 40.0 seconds")),
            (95.0, worker(1, "Model loading took 70.1 GiB and 74.0 seconds")),
            (99.0, worker(0, "Available KV cache memory: 5.10 GiB")),
        ]
    )
    assert seen.seconds[S.WEIGHTS] == 75.0
    assert seen.seconds[S.PROFILE] == 4.0


def test_what_a_server_says_once_it_serves_changes_nothing() -> None:
    log = [*V1_GPU, (500.0, V1_GPU[4][1]), (600.0, V1_GPU[6][1])]
    assert read(log) == read(V1_GPU)


def test_every_stage_is_said_and_has_its_place() -> None:
    assert SAID.keys() == ORDER.keys() == set(Stage)


MARKS = st.tuples(
    st.none() | st.sampled_from(Stage), st.none() | st.sampled_from(Stage), st.floats(0, 1e6)
)


@given(st.lists(MARKS, max_size=40))
def test_no_second_counts_twice_whatever_the_order_of_the_lines(
    marks: list[tuple[Stage | None, Stage | None, float]],
) -> None:
    book = StageBook()
    book.begin(0.0)
    for ends, begins, at in marks:
        book.mark(ends, begins, at)
    book.ready(1e6)
    seen = book.seen
    assert all(seconds >= 0 for seconds in seen.seconds.values())
    assert sum(seen.seconds.values()) <= 1e6 * (1 + 1e-9)
    assert seen.now is None


WARM = {S.IMPORTS: 7.0, S.COMPILE: 8.0, S.WEIGHTS: 10.0}


def test_a_start_is_compared_with_the_usual_one() -> None:
    before = [WARM, {**WARM, S.COMPILE: 9.0}, {**WARM, S.COMPILE: 60.0}]
    assert usual(before) == {S.IMPORTS: 7.0, S.COMPILE: 9.0, S.WEIGHTS: 10.0}
    assert compared(WARM, before) == ""
    assert compared(WARM, []) == ""
    slow = {**WARM, S.COMPILE: 24.0}
    assert compared(slow, [WARM]) == "16 s longer than usual (of that compile 16 s)"
    new_stage = {**WARM, S.DOWNLOAD: 300.0}
    assert compared(new_stage, [WARM]) == "300 s longer than usual (of that download 300 s)"
    everywhere = {stage: seconds + 3 for stage, seconds in WARM.items()}
    assert compared(everywhere, [WARM]) == "9 s longer than usual (of that imports 3 s)"


@pytest.mark.parametrize(
    ("artifact", "graphs", "said"),
    [
        (None, "compiled", "though nothing was changed, 24 s: the cache was not used"),
        ("could not be loaded", "from the cache", "24 s: vLLM cannot load what it stored (x)"),
        ("made anew", None, "though nothing was changed, 24 s: the cache was not used"),
        ("made anew", "from the cache", ""),
        ("loaded", "from the cache", ""),
        (None, None, ""),
    ],
)
def test_a_start_that_compiles_again_is_told_with_its_cost(
    artifact: str | None, graphs: str | None, said: str
) -> None:
    slow = {**WARM, S.COMPILE: 24.0}
    assert "".join(compiled_again(slow, [WARM], artifact, graphs, "x")).endswith(said)
    assert not [*compiled_again(slow, [], artifact, graphs, "x")], "the first start must compile"
