# SPDX-License-Identifier: Apache-2.0
"""`llmagent diagnose`: files, pipes, journals and docker logs in; the contract out."""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import re
import tracemalloc
from pathlib import Path

import pytest

from agent.cli import diagnose
from agent.core.diagnosis.facts import Facts
from agent.core.failures.classes import FailureClass
from agent.errors import UsageError
from tests.given.engine_logs import ALLOCATION, SERVING, WARMING, read, v1
from tests.given.engine_words import WORDS

FREE_MEMORY = (
    "ValueError: Free memory on device cuda:0 (15.30/23.53 GiB) on startup is less than desired "
    "GPU memory utilization (0.92, 21.65 GiB)."
)


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    parser = argparse.ArgumentParser()
    diagnose.add_parser(parser.add_subparsers())
    args = parser.parse_args(["diagnose", *argv])
    status = args.run(args)
    return status, capsys.readouterr().out


def shape(capsys: pytest.CaptureFixture[str], log: Path) -> dict[str, object]:
    _, out = run(capsys, str(log), "--format", "json")
    return dict(json.loads(out))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "vllm.log"


def test_the_json_holds_what_the_contract_names(
    capsys: pytest.CaptureFixture[str], log: Path
) -> None:
    log.write_text(v1(FREE_MEMORY, level="ERROR"))
    status, out = run(capsys, str(log), "--format", "json")
    answer = json.loads(out)
    assert status == 0
    assert answer["class"] == "oom-free-mem-startup"
    assert answer["outcome"] == "failed"
    assert answer["transient"] is None
    assert answer["evidence"] == [FREE_MEMORY]
    assert {"vllm_version", "phase", "remedy", "facts", "also"} <= set(answer)
    facts = {field.name for field in dataclasses.fields(Facts)} - {"proofs"}
    assert set(answer["facts"]) == facts
    assert set(answer["facts"].values()) == {None}


def test_the_remedy_has_its_arithmetic(capsys: pytest.CaptureFixture[str], log: Path) -> None:
    log.write_text(v1(FREE_MEMORY, level="ERROR"))
    remedy = shape(capsys, log)["remedy"]
    assert isinstance(remedy, dict)
    assert remedy["action"] == "lower"
    assert remedy["setting"] == "gpu_memory_utilization"
    assert remedy["value"] == 0.63
    assert remedy["free_gib"] == 15.3
    assert "15.3 of 23.53 GiB are free" in remedy["why"]


def test_look_alike_messages_get_opposite_remedies(
    capsys: pytest.CaptureFixture[str], log: Path
) -> None:
    log.write_text(
        v1("ValueError: No available memory for the cache blocks. Try increasing", level="ERROR")
    )
    remedy = shape(capsys, log)["remedy"]
    assert isinstance(remedy, dict)
    assert remedy["action"] == "raise"


@pytest.mark.parametrize(
    ("text", "action"),
    [
        (SERVING, "none"),
        (f"{SERVING}\nINFO:     Shutting down", "none"),
        ("OSError: You are trying to access a gated repo.", "hold"),
        (f"{WARMING}\n{ALLOCATION}", "lower"),
        (f"{SERVING}\nRuntimeError: CUDA error: device-side assert triggered", "restart"),
        (f"Your GPU does not have native support for FP8 computation\n{SERVING}", "report"),
    ],
)
def test_each_outcome_has_its_action(
    capsys: pytest.CaptureFixture[str], log: Path, text: str, action: str
) -> None:
    log.write_text(text)
    remedy = shape(capsys, log)["remedy"]
    assert isinstance(remedy, dict)
    assert remedy["action"] == action
    assert remedy["why"]


def test_the_human_answer_names_class_remedy_and_evidence(
    capsys: pytest.CaptureFixture[str], log: Path
) -> None:
    log.write_text(v1(FREE_MEMORY, level="ERROR"))
    status, out = run(capsys, str(log))
    assert status == 0
    assert "oom-free-mem-startup" in out
    assert "lower gpu_memory_utilization to 0.63" in out
    assert FREE_MEMORY in out


def test_a_pipe_is_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = io.TextIOWrapper(io.BytesIO(FREE_MEMORY.encode()))
    monkeypatch.setattr("sys.stdin", pipe)
    status, out = run(capsys, "-")
    assert status == 0
    assert "oom-free-mem-startup" in out


def test_nothing_recognised_is_told_by_the_exit_status(
    capsys: pytest.CaptureFixture[str], log: Path
) -> None:
    log.write_text("hello\nworld\n")
    status, out = run(capsys, str(log), "--format", "json")
    assert status == 1
    assert json.loads(out)["outcome"] == "unknown"


def test_an_unreadable_file_is_a_mistake_of_the_command_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"nope\.log"):
        run(capsys, str(tmp_path / "nope.log"))
    with pytest.raises(UsageError):
        run(capsys, str(tmp_path))


def test_any_bytes_are_read(capsys: pytest.CaptureFixture[str], log: Path) -> None:
    log.write_bytes(
        b"\xff\xfe\x00\x80\n" + b"\x00" * 70_000 + b"\n" + FREE_MEMORY.encode() + b"\r\n\x1b[0m\xc3"
    )
    assert shape(capsys, log)["class"] == "oom-free-mem-startup"


def test_a_file_of_sixteen_bit_text_is_read(capsys: pytest.CaptureFixture[str], log: Path) -> None:
    log.write_bytes(f"first\n{FREE_MEMORY}\n".encode("utf-16-le"))
    assert shape(capsys, log)["class"] == "oom-free-mem-startup"


@pytest.mark.parametrize("key", ["MESSAGE", "log", "message"])
def test_records_of_journald_and_docker_are_unpacked(
    capsys: pytest.CaptureFixture[str], log: Path, key: str
) -> None:
    lines = [json.dumps({key: line}) for line in SERVING.split("\n")]
    lines.append(json.dumps({key: list(f"\r{FREE_MEMORY}".encode())}))
    lines.append("{broken json with MESSAGE in it")
    log.write_text("\n".join(lines))
    assert shape(capsys, log)["class"] == "oom-free-mem-startup"


def test_a_line_without_an_end_is_read_in_parts(
    capsys: pytest.CaptureFixture[str], log: Path
) -> None:
    log.write_text("x" * 1_000_000 + "\r" + FREE_MEMORY)
    assert shape(capsys, log)["class"] == "oom-free-mem-startup"


@pytest.mark.parametrize("failure", WORDS)
def test_every_class_gets_a_remedy_that_says_why_once(failure: FailureClass) -> None:
    for line in WORDS[failure]:
        remedy = diagnose.remedy_of(read(line).diagnosis())
        why = str(remedy["why"])
        sentences = [part for part in re.split(r"[.;] ", why.rstrip(".")) if len(part) > 20]
        assert remedy["action"]
        assert len(sentences) == len(set(sentences)) > 0


def test_fifty_times_the_lines_cost_no_more_memory(
    capsys: pytest.CaptureFixture[str], log: Path
) -> None:
    line = 'INFO:     10.0.0.2:4000 - "POST /v1/completions HTTP/1.1" 200 OK\n'
    peaks = []
    for count in (500, 25_000):
        log.write_text(SERVING + "\n" + line * count + FREE_MEMORY)
        tracemalloc.start()
        run(capsys, str(log))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 500_000


def test_of_two_services_in_one_file_each_is_told_the_one_that_failed_first(
    capsys: pytest.CaptureFixture[str], log: Path
) -> None:
    serves = [f"chat-1  | {line}" for line in SERVING.strip().split("\n")]
    failed = f"embed-1  | {v1(FREE_MEMORY, level='ERROR')}"
    log.write_text("\n".join([*serves[:3], failed, *serves[3:]]))
    told = shape(capsys, log)
    assert told["class"] == "oom-free-mem-startup"
    assert told["services"] == [
        {"name": "embed-1", "outcome": "failed", "class": "oom-free-mem-startup"},
        {"name": "chat-1", "outcome": "ready", "class": None},
    ]
    _, out = run(capsys, str(log))
    assert out.index("embed-1\n") < out.index("oom-free-mem-startup") < out.index("chat-1\n")


def test_of_a_flag_that_came_or_went_it_is_said_what_to_do_instead(
    capsys: pytest.CaptureFixture[str], log: Path
) -> None:
    log.write_text("vllm: error: unrecognized arguments: --task=embed --runner pooling --odd")
    told = str(shape(capsys, log)["remedy"])
    assert "--task: it was removed in 0.13; use --runner and --convert" in told
    assert "--runner: it came with 0.10.2" in told
    assert "--odd:" not in told


@pytest.mark.parametrize("nothing", ["", "\n", "  \n\n\t\n"])
def test_a_log_without_a_line_is_no_diagnosis(
    nothing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.log").write_text(nothing)
    with pytest.raises(UsageError, match=r"empty\.log is empty: give it what vLLM printed"):
        run(capsys, str(tmp_path / "empty.log"))
