# SPDX-License-Identifier: Apache-2.0
"""Draws the page: `python -m tests.browser.pictures DIRECTORY [SCENE...]`, or README's pictures.

`python -m tests.browser.pictures docs readme` makes those that README shows, of a made-up host.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.browser.chromium import Tab, chromium
from tests.browser.scenes import SCENES
from tests.browser.stage import READY, served


@dataclass(frozen=True)
class Picture:
    """A scene, on a screen of this width and as far down as this, in CSS pixels."""

    name: str
    scene: str
    width: int
    height: int | None
    dark: bool

    def draw(self, tab: Tab, directory: Path) -> None:
        with (
            tempfile.TemporaryDirectory() as scratch,
            served(SCENES[self.scene](), Path(scratch)) as stage,
        ):
            tab.look(self.width, dark=self.dark)
            tab.open(stage.address, READY)
            tab.picture(directory / f"{self.name}.png", self.height)
            print(self.name, *tab.complaints())


README = tuple(
    Picture(f"status-page{'-dark' if dark else ''}", "three-services", 1200, 1190, dark)
    for dark in (False, True)
)


def pictures_of(scene: str) -> list[Picture]:
    """Returns a scene on a screen and on a telephone, light and dark."""
    return [
        Picture(f"{scene}-{device}{'-dark' if dark else ''}", scene, width, height, dark)
        for dark in (False, True)
        for device, width, height in (("desktop", 1366, None), ("phone", 390, 1400))
    ]


def main(directory: Path, scenes: list[str]) -> None:
    """Draws what is asked for, all scenes if nothing is."""
    directory.mkdir(parents=True, exist_ok=True)
    wanted = (
        list(README)
        if scenes == ["readme"]
        else [picture for scene in scenes or SCENES for picture in pictures_of(scene)]
    )
    with tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as tab:
        for picture in wanted:
            picture.draw(tab, directory)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
