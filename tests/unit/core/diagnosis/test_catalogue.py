# SPDX-License-Identifier: Apache-2.0
"""What vLLM's source can say is placed; the texts of releases stand in tests/given/catalogue."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.catalogue.corpus import CORPUS, corpus
from tests.catalogue.judging import (
    LABELLED,
    frames_alone,
    frames_without_words,
    held_out,
    new_in,
    reviewed,
    score,
    without_release,
)
from tests.catalogue.logs import dying_log
from tests.catalogue.placing import By, can_end, place
from tests.catalogue.stages import Stage, stage_of
from tests.catalogue.texts import ASSERT, CHECK, RAISE, Text, texts_of
from tests.given.engine_logs import SIGNATURES, diagnose, failed

SHARE = 0.98

SOURCE = '''
logger = init_logger(__name__)

def choose(size, name):
    message = f"odd {name}"
    message += ": no kernel"
    if size % 2:
        raise ValueError("size (%d) of %s" % (size, name) + f" is odd: {self.reason}")
    assert size > 2, f"only {size}"
    assert size < 9
    logger.warning_once("%s is slow on %s (%.2f GiB)", name, self.device, size / 2)
    raise MyOwnTrouble(message)

class Base:
    def run(self):
        """To be replaced."""
        raise NotImplementedError
'''


def test_every_raise_assertion_and_alarming_log_call_is_read() -> None:
    found = [(t.function, t.kind, t.name, t.template) for t in texts_of("vllm/a.py", SOURCE)]
    assert found == [
        ("choose", RAISE, "ValueError", "size (⟦⟧) of ⟦⟧ is odd: ⟦reason⟧"),
        ("choose", ASSERT, "AssertionError", "only ⟦size⟧"),
        ("choose", ASSERT, "AssertionError", ""),
        ("choose", "warning", "", "⟦name⟧ is slow on ⟦device⟧ (⟦size⟧ GiB)"),
        ("choose", RAISE, "MyOwnTrouble", "odd ⟦name⟧: no kernel"),
        ("run", RAISE, "NotImplementedError", ""),
    ]


def test_a_method_that_only_refuses_ends_nothing() -> None:
    *_, last = texts_of("vllm/a.py", SOURCE)
    assert stage_of(last) is Stage.ABSTRACT
    assert not can_end(last)


def test_a_check_in_cuda_source_is_read_with_the_values_between_its_words() -> None:
    source = 'void f() { TORCH_CHECK(a(b, "x") > 1, "size is ", a.size(0),\n " not \\"8\\""); }'
    (check,) = texts_of("csrc/a.cu", source)
    assert (check.kind, check.name) == (CHECK, "RuntimeError")
    assert check.template == 'size is ⟦value⟧ not "8"'


def test_a_file_that_python_cannot_parse_has_no_texts() -> None:
    assert list(texts_of("vllm/a.py", "def f(:")) == []


@pytest.mark.parametrize(
    ("module", "function", "stage"),
    [
        ("vllm/config/model.py", "__post_init__", Stage.CONFIG),
        ("vllm/v1/executor/abstract.py", "get_class", Stage.DEVICE),
        ("vllm/model_executor/layers/linear.py", "weight_loader", Stage.LOAD),
        ("vllm/model_executor/layers/linear.py", "forward", Stage.PROFILE),
        ("vllm/v1/core/sched/scheduler.py", "schedule", Stage.SERVE),
        ("vllm/v1/core/kv_cache_utils.py", "resolve_kv_cache_block_sizes", Stage.DEVICE),
        ("vllm/sampling_params.py", "_verify_args", Stage.REQUEST),
        ("vllm/platforms/rocm.py", "device_id", Stage.OTHER_HARDWARE),
        ("vllm/benchmarks/serve.py", "main", Stage.OFFLINE),
    ],
)
def test_the_path_of_a_module_tells_when_its_code_runs(
    module: str, function: str, stage: Stage
) -> None:
    assert stage_of(Text(module, function, RAISE, "ValueError", "odd")) is stage


def test_a_composed_log_holds_the_exception_in_the_words_of_its_era() -> None:
    text = Text("vllm/model_executor/layers/odd.py", "forward", RAISE, "ValueError", "⟦size⟧ odd")
    for release in ("0.6.3.post1", "0.8.5.post1", "0.19.1", "0.33.0"):
        log = "\n".join(dying_log(text, release))
        assert "ValueError: 8 odd" in log
        assert release in log


def test_nearly_all_that_can_end_a_start_or_an_engine_is_placed() -> None:
    placed = [place(text, release, SIGNATURES) for release, text in corpus()]
    lost = [one.text for one in placed if one.by is By.NOTHING]
    assert len(placed) > 1000
    assert 1 - len(lost) / len(placed) >= SHARE, lost


def test_every_stage_of_every_release_is_placed() -> None:
    """No release and no stage hides behind the mean of the others."""
    of_all: Counter[tuple[str, Stage]] = Counter()
    lost: Counter[tuple[str, Stage]] = Counter()
    for release, text in corpus():
        one = place(text, release, SIGNATURES)
        of_all[release, one.stage] += 1
        lost[release, one.stage] += one.by is By.NOTHING
    poor = {key: lost[key] for key in lost if lost[key] > max(1, 0.05 * of_all[key])}
    assert poor == {}


@pytest.mark.parametrize("name", LABELLED)
def test_texts_of_a_release_held_out_get_a_class_that_a_person_gave_them(name: str) -> None:
    _, cases = held_out(name)
    got = score(cases, SIGNATURES)
    assert got.right / got.cases >= 0.85
    assert got.named / got.cases >= 0.95
    assert got.dangerous == 0


def test_a_text_that_a_person_read_and_put_right_stays_right() -> None:
    wrong = [case.cause for case in reviewed() if not score([case], SIGNATURES).right]
    assert wrong == []


@pytest.mark.parametrize(
    "row", (CORPUS / "runtime.tsv").read_text(encoding="utf-8").split("\n")[1:-1]
)
def test_every_error_string_of_the_cuda_runtime_and_of_nccl_has_its_class(row: str) -> None:
    failure, said = row.split("\t")
    bare = said if "NCCL" in said or "nccl" in said else f"CUDA error: {said}"
    assert diagnose(failed(f"torch.AcceleratorError: {bare}")).failure == failure


def test_frames_alone_tell_what_no_signature_names() -> None:
    _, cases = held_out("third")
    got = score(cases, frames_alone(SIGNATURES))
    assert got.right / got.cases >= 0.85


def test_frames_and_exceptions_alone_tell_the_group_of_a_release_s_new_texts() -> None:
    """So it stands to a release that nobody has read yet: wrong classes are near the right ones."""
    for release in ("0.20", "0.26", "0.30", "0.33"):
        got = score(new_in(release), frames_without_words(SIGNATURES))
        assert got.cases >= 15
        assert got.group / got.cases >= 0.7, release


def test_signatures_of_a_release_can_be_held_out() -> None:
    names = {s.id for s in without_release(SIGNATURES, "0.33").signatures}
    assert "no-memory-left-for-kv-on-cpu" not in names
    assert "weights-held-outside-exceed-the-budget" in names
