# SPDX-License-Identifier: Apache-2.0
"""Draws the page in each scene: `python -m tests.browser.pictures DIRECTORY [SCENE...]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.browser.chromium import chromium
from tests.browser.scenes import READY, SCENES, served

LOOKS = (
    ("desktop", 1366, False),
    ("phone", 390, False),
    ("desktop-dark", 1366, True),
    ("phone-dark", 390, True),
)


def main(directory: Path, scenes: list[str]) -> None:
    """Draws each scene on a screen and on a telephone, light and dark."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as tab:
        for name in scenes or list(SCENES):
            with (
                tempfile.TemporaryDirectory() as scratch,
                served(SCENES[name](), Path(scratch)) as stage,
            ):
                for look, width, dark in LOOKS:
                    tab.look(width, dark=dark)
                    tab.open(stage.address, READY)
                    tab.picture(directory / f"{name}-{look}.png")
                    print(name, look, *tab.complaints())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
