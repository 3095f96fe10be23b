# SPDX-License-Identifier: Apache-2.0
"""The pages of the manual: packaged, sound, linked, and what they have you type can be typed."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import pytest

from agent.cli.main import COMMANDS, parser_of
from agent.config.agent_toml import parse
from tests.rig.paths import REPO

MAN: Final = REPO / "packaging/man"
PAGES: Final = sorted(page.name for page in MAN.iterdir())

needs_mandoc = pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")


def examples(page: str) -> list[str]:
    """Returns the text of each display of a page, as a reader sees it."""
    source = (MAN / page).read_text()
    found = re.findall(r"(?s)\.Bd -literal -offset indent\n(.*?)\.Ed", source)
    return [text.replace(r"\(dq", '"').replace(r"\e", "\\") for text in found]


def test_each_page_is_in_the_package() -> None:
    listed = (REPO / "packaging/debian/llmagent.manpages").read_text().split()
    assert sorted(Path(page).name for page in listed) == PAGES


@needs_mandoc
@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_sound(page: str) -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", MAN / page],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stdout == ""


def typed(page: str) -> Iterator[str]:
    """Yields each command of llmagent's that a page shows as a line to be typed."""
    for text in examples(page):
        for line in text.replace("\\\n", " ").splitlines():
            for part in re.split(r"\s*(?:&&|\|)\s*", line.strip()):
                if found := re.match(r"(?:sudo )?(llmagent(?: .*)?)$", part):
                    yield found[1]


@cache
def _options() -> Mapping[str, argparse.ArgumentParser]:
    return dict(parser_of(COMMANDS)[1].choices)


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_has_you_type_exists(page: str) -> None:
    for line in typed(page):
        words = shlex.split(line)[1:]
        if "--" in words:
            words = words[: words.index("--")]
        if not words or words[0].startswith("-"):
            continue
        parser = _options().get(words[0])
        assert parser is not None, line
        known = parser.format_help()
        # plan takes vLLM's own options besides.
        if words[0] != "plan":
            for option in (word.partition("=")[0] for word in words if word.startswith("--")):
                assert re.search(rf"{option}\b", known), line


@pytest.mark.parametrize("page", [page for page in PAGES if page.endswith(".7")])
def test_the_configuration_that_a_page_shows_is_valid(page: str) -> None:
    for text in examples(page):
        if re.match(r"\[(?:service|power|thermal|metrics|notify|fleet)", text):
            parse(text, page)


class Links(HTMLParser):
    """Collects addresses and anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.add(value)
            if name == "id" and value:
                self.anchors.add(value)


@needs_mandoc
def test_every_link_of_the_site_leads_somewhere(tmp_path: Path) -> None:
    subprocess.run([REPO / "packaging/build-site", "--output", tmp_path], check=True)
    pages = {file.name: Links(file.read_text()) for file in tmp_path.glob("*.html")}
    assert pages.keys() == {f"{page}.html" for page in PAGES} | {"index.html"}
    for name, page in pages.items():
        for link in page.links:
            if link.startswith("https://"):
                # Only pages of others are elsewhere.
                assert "llmagent" not in link, (name, link)
                continue
            file, _, anchor = link.partition("#")
            assert (tmp_path / (file or name)).is_file(), (name, link)
            assert not anchor or anchor in pages[file or name].anchors, (name, link)
    # Where an alert sends who is woken by it.
    alerts = re.findall(
        r"(?m)^ +- alert: (\w+)", (REPO / "etc/prometheus/llmagent.rules.yml").read_text()
    )
    assert set(alerts) <= pages["llmagent-alerts.7.html"].anchors
