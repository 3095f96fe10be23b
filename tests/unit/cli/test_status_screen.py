# SPDX-License-Identifier: Apache-2.0
"""`llmagent status` on a terminal of 80 columns: the first line tells whether all is well."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.cli.main import main
from agent.cli.screen.headline import headline
from agent.cli.screen.unwatched import unwatched
from agent.cli.status import render
from agent.core.verify.check import Verdict
from agent.core.view.cluster import CauseView, ClusterView, PeerView
from agent.core.view.gpus import GpusView
from agent.core.view.snapshot import ServiceView, SourceView, to_json
from agent.core.view.starting import StageView
from tests.given.some_gpus import GB10, H200, many_gpus, some_gpus
from tests.given.some_snapshot import SNAPSHOT

SERVING, HELD = SNAPSHOT.services[0], SNAPSHOT.services[1]
WELL = replace(
    SERVING,
    verification=tuple(c for c in SERVING.verification if c.verdict is Verdict.PROVEN),
    overrides={},
)


def document(*services: ServiceView, gpus: GpusView | None = None, **more: Any) -> dict[str, Any]:
    snapshot = replace(SNAPSHOT, services=services, sources=(), gpus=gpus, findings=())
    plain: dict[str, Any] = json.loads(json.dumps(to_json(replace(snapshot, **more))))
    return plain


def screen(view: dict[str, Any], width: int = 80) -> list[str]:
    return render(view, colour=False, width=width, everything=False).splitlines()


def test_the_first_line_says_that_all_is_well() -> None:
    assert screen(document(WELL))[0] == "all is well: 1 service"


def test_the_first_line_names_what_needs_a_person_and_how_much_more_there_is() -> None:
    assert screen(document(WELL, HELD))[0] == f"needs you: embed is held: {HELD.reason}"
    both = screen(document(SERVING, HELD))[0]
    assert both.endswith("(and 1 more)")


def test_a_lost_card_is_worse_than_a_setting_that_is_not_as_asked() -> None:
    view = document(SERVING, gpus=some_gpus(replace(H200, lost=True), GB10))
    assert headline(view) == ("needs you: GPU 0 is lost (and 1 more)", "wrong")


def test_a_start_under_way_needs_nobody() -> None:
    view = document(replace(WELL, phase="starting"))
    assert headline(view) == ("not serving: vllm is starting", "not yet")


def test_a_source_that_has_not_looked_yet_alarms_nobody() -> None:
    young = SourceView("host", up=False, detail="not looked yet")
    assert len(screen(document(WELL, sources=(young,)))) == 2
    down = SourceView("host", up=False, detail="permission denied")
    assert screen(document(WELL, sources=(down,)))[:2] == [
        "needs you: source host is down: permission denied",
        "source host is down: permission denied",
    ]


def test_eight_gpus_and_three_services_fit_a_screen_of_80_by_24() -> None:
    three = (WELL, replace(WELL, name="chat"), replace(WELL, name="embed"))
    lines = screen(document(*three, gpus=many_gpus(8)))
    assert max(len(line) for line in lines) <= 80
    # A remark of each card (it is slowed down) is one more line each.
    assert len([line for line in lines if not line.startswith("       ")]) == 1 + 3 + 1 + 8


def test_proofs_are_shown_only_where_something_is_not_proven() -> None:
    assert not any("quantization" in line for line in screen(document(WELL)))
    shown = "\n".join(screen(document(SERVING)))
    assert "contradicted linear_kernel: asked marlin, got CPUWNA16LinearKernel" in shown
    assert "unknown   kv_bytes_per_token" in shown


def test_check_is_an_exit_status_for_scripts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "status.json"
    file.write_text(json.dumps({**document(WELL, HELD), "at_seconds": time.time()}))
    arguments = ["status", "--file", str(file), "--check"]
    assert main(arguments) == 1
    assert main([*arguments, "vllm"]) == 0
    assert main([*arguments, "embed"]) == 1
    file.write_text(json.dumps({**document(), "at_seconds": time.time()}))
    assert main(arguments) == 1, "nothing configured serves nothing"
    assert "no service is configured" in capsys.readouterr().out


def test_a_start_under_way_says_what_it_is_about_and_how_long_that_takes_usually() -> None:
    stage = StageView("compile", "compiling", 1038.0, 8.0)
    starting = replace(WELL, phase="starting", engine_phase="compiling", stage=stage)
    assert "compiling, 12 s of usually 8" in screen(document(starting))[1]
    first = replace(starting, stage=replace(stage, usual_seconds=None))
    assert screen(document(first))[1].endswith("compiling, 12 s")


def test_a_unit_that_runs_and_that_nobody_watches_is_told(tmp_path: Path) -> None:
    units, groups = tmp_path / "units", tmp_path / "system.slice"
    units.mkdir()
    for name in ("chat", "embed", "gone", "chat-fetch", "embed-ray", "big-ray"):
        (units / f"{name}.service").write_text("")
    for name in ("chat", "embed", "chat-fetch", "embed-ray", "big-ray"):
        (groups / f"{name}.service").mkdir(parents=True)
    services = {"embed": {}, "big": {"cluster": {"member": 0}}}
    ray, told = sorted(unwatched(services, units, (groups,)), reverse=True)
    assert ray.startswith("embed-ray.service"), "Ray is of a service over several hosts alone"
    assert told.startswith("chat.service still runs, but is not in agent.toml any more")
    assert "systemctl disable --now chat" in told


GROUP = ClusterView(
    member=0,
    head=True,
    headless=False,
    hosts=3,
    generation=4,
    stance="ready",
    cause=CauseView("gpu-b", "worker-died", "worker-died: a worker ended", 1000.0),
    peers=(
        PeerView("http://10.0.0.2:9836", "gpu-b", 1, 4, "running", "x", 1999.0, answers=True),
        PeerView("http://10.0.0.3:9836", problem="no answer in time"),
    ),
)


def test_a_group_of_hosts_shows_who_is_there_who_is_away_and_why_it_began_anew() -> None:
    lines = screen(document(replace(WELL, phase="waiting", cluster=GROUP)), width=120)
    group = next(line for line in lines if line.startswith("  group"))
    assert "head of 3 hosts, ready in generation 4, begun on gpu-b at" in group
    assert group.endswith("worker-died: a worker ended")
    assert "  peer      gpu-b running" in lines
    assert "  peer      10.0.0.3:9836 does not answer yet: no answer in time" in lines


def test_a_peer_whose_cards_are_slow_is_named_as_it_slows_all() -> None:
    first, _ = GROUP.peers
    slow = replace(first, held_back="GPU 3 is held at 350 W for its heat")
    lines = screen(document(replace(WELL, cluster=replace(GROUP, peers=(slow,)))), width=120)
    assert "  peer      gpu-b running, slow: GPU 3 is held at 350 W for its heat" in lines


def test_a_peer_that_was_first_asked_a_moment_ago_is_not_missed_yet() -> None:
    peer = PeerView("http://10.0.0.3:9836", asked_seconds=1990.0, problem="no answer in time")
    view = document(replace(WELL, phase="waiting", cluster=replace(GROUP, peers=(peer,))))
    assert not any("does not answer" in line for line in headline(view))


def test_a_peer_that_does_not_answer_or_is_not_the_same_needs_a_person() -> None:
    view = document(replace(WELL, phase="waiting", cluster=GROUP))
    assert headline(view)[0] == (
        "needs you: the llmagent of 10.0.0.3:9836 does not answer: no answer in time"
    )
    first, _ = GROUP.peers
    unlike = replace(first, unlike=("vLLM is 0.32.0 here and 0.33.0 there",))
    view = document(replace(WELL, cluster=replace(GROUP, peers=(unlike,))))
    assert headline(view)[0].startswith("needs you: vllm and gpu-b are not the same: vLLM is 0.32")
