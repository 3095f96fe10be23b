# SPDX-License-Identifier: Apache-2.0
"""The status page as a person meets it: with eyes, a finger, a keyboard, or a screen reader."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.core.view.snapshot import Snapshot
from tests.browser.chromium import Tab, chromium
from tests.browser.scenes import CHAT, HELD, NOW, SCENES, snapshot, told_by
from tests.browser.stage import READY, Stage, served

AUDIT = (Path(__file__).parent / "audit.js").read_text()
HOSTILE = "<img src=x onerror=window.pwned=1>"
TOLD = "document.querySelector('#verdict').innerText"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def tab(browser: Tab) -> Tab:
    browser.look(1366)
    return browser


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with served(SCENES["serving"](), tmp_path) as stage:
        yield stage


def texts(tab: Tab, selector: str) -> list[str]:
    """Returns the visible text of each element that the selector names."""
    script = f"[...document.querySelectorAll({selector!r})].map((one) => one.innerText)"
    found: list[str] = tab.run(script)
    return found


@pytest.mark.parametrize("name", SCENES)
def test_each_scene_is_readable_on_every_screen_and_asks_nobody_else(
    tab: Tab, tmp_path: Path, name: str
) -> None:
    with served(SCENES[name](), tmp_path) as stage:
        for width, dark in ((1366, False), (1366, True), (360, False), (390, True)):
            tab.look(width, dark=dark)
            tab.open(stage.address, READY)
            assert tab.run(AUDIT) == [], (width, dark)
            assert tab.complaints() == [], (width, dark)
            assert [one for one in tab.asked() if not one.startswith(stage.address)] == []


def test_a_page_that_is_hard_to_use_would_be_noticed(tab: Tab, stage: Stage) -> None:
    tab.look(390)
    tab.open(stage.address, READY)
    for spoil, complaint in (
        ("document.querySelector('h1').style.color = '#9fb'", "contrast"),
        ("document.querySelector('.path').style.stroke = '#eee'", "contrast of a mark"),
        ("document.querySelector('footer').id = 'main'", "id main stands twice"),
        ("document.querySelector('footer').style.width = '500px'", "wider than the screen"),
    ):
        tab.run(spoil)
        assert any(complaint in text for text in tab.run(AUDIT)), complaint


def test_what_needs_a_person_comes_first_with_what_to_do(tab: Tab, tmp_path: Path) -> None:
    with served(SCENES["held"](), tmp_path) as stage:
        tab.open(stage.address, READY)
        told = tab.run(TOLD)
        assert told.startswith("One thing needs you\nvllm is held: gated-repo")
        assert "ask for access at https://huggingface.co" in told
        assert tab.run("document.title").startswith("(1) ")
        top = "document.querySelector('{}').getBoundingClientRect().top"
        assert tab.run(top.format("#verdict")) < tab.run(top.format("#services"))


def test_other_hosts_stand_in_one_list_and_what_they_say_is_text(tab: Tab, tmp_path: Path) -> None:
    scene = SCENES["fleet"]()
    evil = told_by("evil", replace(HELD, name=HOSTILE, reason=HOSTILE))
    with served(replace(scene, fleet=(*scene.fleet, evil)), tmp_path) as stage:
        tab.open(stage.address, READY)
        assert texts(tab, "#fleet-summary") == [
            "5 hosts: 2 need you, 1 does not answer, 1 is not serving, 1 is well"
        ]
        words = ["needs you", "needs you", "no answer", "not serving", "well"]
        assert texts(tab, "#fleet .badge") == words
        assert texts(tab, "#fleet a")[2:4] == ["gpu-04", "https://gpu-03.rack-7.example.org:9836"]
        assert tab.run("document.querySelector('#fleet a').href") == "http://evil:9836/"
        tab.run(
            "document.querySelectorAll('#fleet details').forEach((one) => { one.open = true; })"
        )
        assert "to do: ask for access at" in tab.run("document.querySelector('#fleet').innerText")
        assert HOSTILE in tab.run("document.querySelector('#fleet').innerText")
        assert tab.run("window.pwned === undefined && !document.querySelector('img[src=x]')")
        assert tab.complaints() == []
        assert [one for one in tab.asked() if not one.startswith(stage.address)] == []


def test_a_pause_is_told_with_its_end_and_who_asked(tab: Tab, tmp_path: Path) -> None:
    with served(SCENES["paused"](), tmp_path) as stage:
        tab.open(stage.address, READY)
        assert "Everything is paused until" in tab.run(TOLD)
        assert "by root: llmagent watches and tells, and does not act" in tab.run(TOLD)
        assert "paused" in texts(tab, ".badge")


def test_it_lives_without_a_reload_and_leaves_what_is_open_open(tab: Tab, stage: Stage) -> None:
    tab.open(stage.address, READY)
    tab.run("document.querySelector('details[data-name=\"proof-vllm\"]').open = true")
    tab.run("document.querySelector('details[data-name=\"proof-vllm\"] summary').focus()")
    stage.snapshot = snapshot(replace(CHAT, reason="new", api=None), HELD_EMBED)
    stage.happens("held", "gated-repo: needs a person", "embed")
    tab.wait(f"{TOLD}.includes('One thing needs you')")
    assert tab.run("document.querySelector('#announced').ariaLive") == "polite"
    assert tab.run("document.querySelector('details[data-name=\"proof-vllm\"]').open")
    assert tab.run("document.activeElement.dataset.name") == "p-vllm"
    tab.wait("document.querySelector('.history .what').innerText.includes('needs a person')")


HELD_EMBED = replace(HELD, name="embed", unit="embed.service")


def test_an_agent_that_does_not_answer_is_said_at_once_and_found_again(
    tab: Tab, tmp_path: Path
) -> None:
    with served(SCENES["serving"](), tmp_path) as stage:
        tab.open(stage.address, READY)
        assert texts(tab, "#live") == ["live"]
    tab.wait("document.querySelector('#live').innerText.startsWith('no answer since')")
    assert tab.run("document.body.hasAttribute('data-stale')")


def test_an_agent_that_decides_nothing_is_said(tab: Tab, stage: Stage) -> None:
    stage.snapshot = replace(stage.snapshot, last_decision_seconds=NOW - 600)
    tab.open(stage.address, READY)
    assert "llmagent has decided nothing for 10 min" in tab.run(TOLD)


def test_what_strangers_wrote_is_text(tab: Tab, stage: Stage) -> None:
    stage.snapshot = hostile(stage.snapshot)
    stage.happens("failure", HOSTILE, HOSTILE)
    tab.open(stage.address, READY)
    tab.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert tab.run("document.body.innerText").count("onerror=window.pwned") >= 5
    assert tab.run("window.pwned === undefined && !document.querySelector('img[src=x]')")
    assert tab.complaints() == []


def hostile(given: Snapshot) -> Snapshot:
    failure = replace(CHAT.failure or HELD.failure, evidence=(HOSTILE,), remedy=HOSTILE)  # type: ignore[type-var]
    evil = replace(
        HELD, reason=HOSTILE, failure=failure, running={"model": HOSTILE}, drop_ins=(HOSTILE,)
    )
    return replace(given, services=(evil,))


def test_the_policy_stops_a_script_that_is_written_into_the_page(tab: Tab, stage: Stage) -> None:
    tab.open(stage.address, READY)
    with pytest.raises(Exception, match="TrustedHTML"):
        tab.run(f"document.body.innerHTML = {HOSTILE!r}")
    refused = "fetch('http://127.0.0.2:1/').then(() => 'asked', (error) => error.name)"
    assert tab.run(refused) == "TypeError"
    assert any("Content Security Policy" in text for text in tab.complaints())


def test_a_keyboard_reaches_everything_in_the_order_of_the_page(tab: Tab, stage: Stage) -> None:
    tab.open(stage.address, READY)
    order: list[tuple[str, str]] = []
    for _ in range(40):
        tab.press("Tab")
        here = tab.run(
            "((one) => [one.id || one.name || one.innerText, getComputedStyle(one).outlineStyle,"
            " one === document.body])(document.activeElement)"
        )
        if here[2]:
            break
        order.append((here[0], here[1]))
    assert [name for name, _ in order] == [
        *("Skip to the content", "Services", "GPUs", "Last hours", "History"),
        *("Evidence", "Asked against got: 5 proven, 1 unknown"),
        *("hours", "moment", "by-service", "by-kind", "by-text", "Manual", "Metrics"),
    ]
    assert {outline for _, outline in order} <= {"solid", "auto"}


def test_the_moment_of_the_plots_is_moved_with_the_keyboard(tab: Tab, stage: Stage) -> None:
    tab.open(stage.address, READY)
    now = texts(tab, ".legend b")
    tab.run("document.querySelector('#moment').focus()")
    for _ in range(5):
        tab.press("ArrowLeft")
    told = tab.run("document.querySelector('#moment').getAttribute('aria-valuetext')")
    assert told == tab.run("document.querySelector('#moment-text').innerText") == "23:55"
    assert texts(tab, ".legend b") != now
    choose(tab, "#moment", "26")
    assert "vllm: engine-dead" in tab.run("document.querySelector('#moment-text').innerText")


def test_a_screen_reader_is_told_what_a_plot_shows(tab: Tab, stage: Stage) -> None:
    tab.open(stage.address, READY)
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    named = [(role(node), name(node)) for node in nodes if not node["ignored"]]
    plots = [text for kind, text in named if kind in ("image", "img") and text]
    assert len(plots) == 8
    assert plots[0].startswith("Tokens a second. vllm: lowest ")
    for landmark in ("banner", "navigation", "main", "contentinfo"):
        assert landmark in [kind for kind, _ in named]
    controls = {"button", "link", "textbox", "searchbox", "combobox", "slider", "radio"}
    assert [kind for kind, text in named if kind in controls and not text] == []
    assert ("columnheader", "Temperature") in named
    assert sum(kind == "progressbar" for kind, _ in named) == 0


def role(node: dict[str, Any]) -> str:
    return str(node.get("role", {}).get("value", ""))


def name(node: dict[str, Any]) -> str:
    return str(node.get("name", {}).get("value", ""))


def test_the_history_is_filtered_and_goes_back(tab: Tab, stage: Stage) -> None:
    for number in range(450):
        stage.happens("start", f"start {number}", "embed" if number % 2 else "vllm")
    tab.open(stage.address, READY)
    assert texts(tab, "#count") == ["200 events of the 200 newest"]
    tab.run("document.querySelector('#older').click()")
    tab.wait("document.querySelector('#count').innerText.includes('of the 400')")
    tab.run("document.querySelector('#older').click()")
    tab.wait("document.querySelector('#count').innerText.includes('of the 463')")
    assert tab.run("document.querySelector('#older').hidden")
    choose(tab, "#by-kind", "loud")
    assert texts(tab, "#count") == ["5 events of the 463 newest"]
    choose(tab, "#by-text", "ENGINE-DEAD")
    assert texts(tab, "#count") == ["1 event of the 463 newest"]
    choose(tab, "#by-kind", "")
    choose(tab, "#by-text", "")
    choose(tab, "#by-service", "=embed")
    assert set(texts(tab, ".history .who")) == {"embed"}


def choose(tab: Tab, selector: str, value: str) -> None:
    tab.run(
        f"(() => {{ const one = document.querySelector({selector!r}); one.value = {value!r};"
        " one.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def test_who_wants_no_motion_gets_none(tab: Tab, stage: Stage) -> None:
    tab.look(1366, still=True)
    tab.open(stage.address, READY)
    assert tab.run("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    assert tab.run("document.getAnimations().length") == 0


def test_a_time_without_service_is_drawn_where_it_was(tab: Tab, tmp_path: Path) -> None:
    with served(SCENES["held"](), tmp_path) as stage:
        tab.open(stage.address, READY)
        plot = "document.querySelector('.plot svg')"
        away = tab.run(f"{plot}.querySelector('.away').getBoundingClientRect().right")
        assert abs(away - tab.run(f"{plot}.getBoundingClientRect().right")) < 12
        assert tab.run(f"{plot}.querySelectorAll('.mark').length") >= 2
