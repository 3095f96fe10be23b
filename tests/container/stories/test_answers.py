# SPDX-License-Identifier: Apache-2.0
"""What a person types and reads: on a small screen, at night, with slips of the pen."""

from __future__ import annotations

import re

import pytest

from tests.benchmarks.table.page import ROWS, standing
from tests.container.stories.stage import Stage
from tests.rig import scripted
from tests.rig.installed import OURS, service_table
from tests.rig.paths import REPO


@pytest.mark.story("B4", "B9", "B15")
def test_the_status_fits_a_screen_and_outlives_the_agents_restart(stage: Stage) -> None:
    scripted.set_scenario(stage.box, {})
    names = {"vllm": 8000, "chat": 8001, "embed": 8002}
    tables = (service_table(name, port, gpus=[port - 8000], **OURS) for name, port in names.items())
    stage.configure(*tables)
    for name in names:
        stage.wait("serving", name)
    shown = stage.shows("llmagent").splitlines()
    assert len(shown) <= 24, shown
    assert max(len(line) for line in shown) <= 80
    assert shown[0] == "all is well: 3 services and 8 GPUs"
    assert [line.split()[:2] for line in shown[1:4]] == [[name, "serving"] for name in names]
    assert len([line for line in shown if line.startswith("GPU ")]) == 8

    # The whole screen again and again, also while the agent is away and after it.
    watch = "script -qc 'stty cols 80 rows 24; timeout 25 llmagent status --watch' /root/watched"
    stage.says(f"systemd-run --quiet --unit=watch --setenv=TERM=xterm {watch}")
    watched = "cat /root/watched"
    stage.box.wait_for(lambda: "all is well" in stage.types(watched).stdout, 20, "the watch")
    stage.says("systemctl restart llmagent")
    began = len(stage.types(watched).stdout)
    for _ in range(4):
        for line in stage.says("llmagent status --verbose; sleep 0.5").splitlines():
            assert " is down" not in line
            assert "has not answered" not in line

    def is_back() -> bool:
        return "all is well: 3 services" in stage.types(watched).stdout[began:]

    stage.box.wait_for(is_back, 25, "the watch to go on")


@pytest.mark.story("B5", "B6")
def test_a_slip_of_the_pen_is_answered_and_the_journal_diagnosed(stage: Stage) -> None:
    for typed, answer in {
        "statsu": "did you mean status?",
        "logs": "journalctl -u vllm -e",
        "start": "systemctl start vllm",
        "status --wath": "did you mean --watch?",
        "--wath": "did you mean --watch?",
    }.items():
        said = stage.says(f"llmagent {typed}", status=2)
        assert answer in said
        assert "the following arguments are required" not in said
    stage.write(service_table(**OURS))
    assert "`llmagent status vllm`" in stage.says("llmagent vllm", status=2)
    assert stage.says("llmagent -v") == stage.says("llmagent --version")
    assert "examples:" in stage.says("llmagent help init")
    for shell in (
        "/usr/share/bash-completion/completions/llmagent",
        "/usr/share/zsh/vendor-completions/_llmagent",
        "/usr/share/fish/vendor_completions.d/llmagent.fish",
    ):
        assert stage.box.exists(shell)

    engine = stage.serve()
    scripted.cue(stage.box, "oom-runtime")
    stage.box.wait_for(lambda: stage.pid("vllm") not in (0, engine), 30, "a new process")
    stage.wait("serving")
    of_the_journal = stage.says("llmagent diagnose vllm")
    assert of_the_journal.count("vllm.service, run of ") >= 2
    assert "class     oom" in of_the_journal.partition("\n\n")[0], "what failed comes first"
    assert "is empty" in stage.says("llmagent diagnose /dev/null", status=2)
    assert "the pipe is empty" in stage.says("llmagent diagnose </dev/null", status=2)
    # On a terminal it waits for nobody.
    assert "vllm.service, run of" in stage.shows("llmagent diagnose")


@pytest.mark.story("A3")
def test_a_lost_card_fails_the_doctor_with_the_cure_of_the_status(stage: Stage) -> None:
    stage.serve(gpus=[1])
    stage.gpus.run("lose", "1")
    said = stage.says("llmagent doctor --offline", status=1)
    assert re.search(r"FAIL gpu: GPU 1.*fallen off the bus", said)
    assert "Reboot" in said
    stage.box.wait_for(
        lambda: "needs you" in stage.says("llmagent status"), 30, "the status to say so"
    )
    assert "eboot" in stage.says("llmagent status")
    stage.gpus.run("find", "1")


@pytest.mark.story("B16")
def test_the_daemons_memory_is_as_readme_says(stage: Stage) -> None:
    stage.serve()
    pid = stage.pid("llmagent")
    rss = stage.says(f"sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\) kB/\\1/p' /proc/{pid}/status")
    part = {"bookworm": "costs", "trixie": "costs-trixie"}[stage.box.suite]
    assert int(rss) / 1024 <= said_of_memory(part) * 1.1


def said_of_memory(part: str) -> float:
    """Returns the MiB that README has of what a benchmark measured."""
    row = next(row for row in ROWS if row.part == part and "{memory_mib" in row.ours)
    said = re.search(r"\| ([\d.]+) MiB", standing((REPO / "README.md").read_text())[row.what])
    assert said is not None
    return float(said[1])
