# SPDX-License-Identifier: Apache-2.0
"""A model's files that ended one process of the agent are not read by the next, which says so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from agent.config.agent_toml import parse
from agent.core.settings.config import Config
from agent.daemon.policy_loader import model_of_service, policy_of
from agent.host.machine.reading_mark import ReadingMark
from tests.rig.paths import REPO

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 2048,
    "num_attention_heads": 16,
    "num_hidden_layers": 16,
    "vocab_size": 32000,
}

READ_AND_HANG = """
import sys, time
from pathlib import Path
from agent.host.machine.reading_mark import ReadingMark
with ReadingMark(Path(sys.argv[1])).of(sys.argv[2]):
    print("reads", flush=True)
    time.sleep(60)
"""


def configured(directory: Path, *names: str) -> Config:
    tables = []
    for number, name in enumerate(names):
        (directory / name).mkdir()
        (directory / name / "config.json").write_text(json.dumps(LLAMA))
        place = f'model = "{directory / name}"'
        tables.append(f"[service.{name}]\n{place}\nport = {8000 + number}\ngpus = [{number}]\n")
    return parse("".join(tables), "agent.toml")


def test_what_was_read_when_the_last_process_was_killed_is_left_out(tmp_path: Path) -> None:
    config = configured(tmp_path, "bad", "good")
    file = tmp_path / "reading"
    argv = [sys.executable, "-c", READ_AND_HANG, str(file), model_of_service("bad")]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=REPO)
    assert process.stdout is not None
    assert process.stdout.readline() == "reads\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    mark = ReadingMark(file)
    assert mark.left == model_of_service("bad")
    assert set(policy_of(config, mark).models) == {"good"}
    assert ReadingMark(file).left == "", "what was read well leaves no mark"
    mark.left = ""
    assert set(policy_of(config, mark).models) == {"bad", "good"}


def test_a_mark_that_cannot_be_written_stops_no_reading(tmp_path: Path) -> None:
    config = configured(tmp_path, "good")
    assert set(policy_of(config, ReadingMark(tmp_path / "no/such/place")).models) == {"good"}
    assert set(policy_of(config, ReadingMark()).models) == {"good"}


def test_an_environment_on_a_disk_that_does_not_answer_costs_seconds_and_is_told(
    tmp_path: Path,
) -> None:
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").symlink_to(sys.executable)
    os.mkfifo(venv / "pyvenv.cfg")  # whoever opens it waits for a writer, as for a dead NFS
    text = f'[service.vllm]\nmodel = "/nowhere"\npython = "{venv / "bin/python"}"\n'
    policy = policy_of(parse(text, "agent.toml"), ReadingMark())
    assert policy.engines["vllm"].version is None
