# SPDX-License-Identifier: Apache-2.0
"""The manual as a site, in a real browser: on a telephone and a desk, by day and by night."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.browser.chromium import chromium
from tests.rig.paths import REPO

READY: Final = 'document.readyState === "complete"'
LEAST_CONTRAST: Final = 4.5
"""WCAG 2.2, 1.4.3: of text with what is behind it."""

CONTRAST: Final = """
(() => {
  const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number);
    return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
    return getComputedStyle(document.documentElement).backgroundColor;
  };
  let least = 21;
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !element.offsetParent) continue;
    const [a, b] = [light(getComputedStyle(element).color), light(behind(element))];
    least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return least;
})()
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("site")
    subprocess.run([REPO / "packaging/build-site", "--output", made], check=True)
    return made


def test_every_page_can_be_read_everywhere(site: Path, tmp_path: Path) -> None:
    with chromium(tmp_path) as tab:
        for page in sorted(site.glob("*.html")):
            for width, dark in ((360, True), (1200, False)):
                tab.look(width, dark=dark)
                tab.open(page.as_uri(), READY)
                seen = (page.name, width)
                # No line makes the page wider than the screen; long ones roll by themselves.
                assert tab.run("document.documentElement.scrollWidth") <= width, seen
                assert tab.run(CONTRAST) >= LEAST_CONTRAST, seen
                assert tab.complaints() == [], seen
                assert {address.split("/")[0] for address in tab.asked()} == {"file:"}, seen
        tab.open((site / "index.html").as_uri(), READY)
        tab.press("Tab")
        tab.press("Enter")
        tab.wait('location.pathname.endsWith("llmagent-first-steps.7.html")')
