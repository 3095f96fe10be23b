# SPDX-License-Identifier: Apache-2.0
"""Debian's Chromium without a screen, spoken to over a pipe in the DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROGRAM = "chromium-headless-shell"
ANSWER_SECONDS = 60.0
FLAGS = (
    "--remote-debugging-pipe",
    "--no-sandbox",  # root in a container has no user namespace to make one in
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
"""The last one: whatever a page wants from elsewhere fails at once, and is seen."""


class BrowserError(Exception):
    """Tells what the browser, or a script in it, answered with."""


class Tab:
    """One page in a browser of its own."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = commands
        self._answers = answers
        self._rest = b""
        self._number = 0
        self._session = ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "Accessibility", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Returns the result; what happened meanwhile is in `events`. Raises BrowserError."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + ANSWER_SECONDS
        while (answer := self._next(end)) is not None:
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)
        raise BrowserError(f"{method}: no answer within {ANSWER_SECONDS:.0f} s")

    def _next(self, end: float) -> dict[str, Any] | None:
        while b"\0" not in self._rest:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                return None
            came = os.read(self._answers, 1 << 20)
            if not came:
                raise BrowserError("the browser has ended")
            self._rest += came
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def run(self, script: str) -> Any:
        """Returns the value of an expression in the page. Raises BrowserError for an exception."""
        found = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            raise BrowserError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def look(
        self, width: int, height: int = 900, *, dark: bool = False, still: bool = False
    ) -> None:
        """Be a screen of this width in CSS pixels; below 600 a telephone with a finger."""
        phone = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else ""},
        ]
        self.call("Emulation.setEmulatedMedia", media="screen", features=features)

    def open(self, address: str, ready: str) -> None:
        """Goes there and waits until the expression is true."""
        self.events.clear()
        self.call("Page.navigate", url=address)
        self.wait(ready)

    def wait(self, condition: str, seconds: float = 60.0) -> None:
        """Waits until the expression is true. Raises BrowserError."""
        end = time.monotonic() + seconds
        while not self.run(f"Boolean({condition})"):
            if time.monotonic() > end:
                raise BrowserError(f"not within {seconds:.0f} s: {condition}")
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """Presses a key and lets it go: "Tab", "Enter", "ArrowLeft"."""
        codes = {"Tab": 9, "Enter": 13, "ArrowLeft": 37, " ": 32}
        text = {"Enter": "\r", " ": " "}.get(key)
        more = {"text": text} if text else {}
        code = codes[key]
        self.call(
            "Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **more
        )
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def close(self) -> None:
        """Ends the browser, with all its processes."""
        self._session = ""
        self.call("Browser.close")

    def picture(self, file: Path, height: int | None = None) -> None:
        """Writes a PNG of the page's first `height` CSS pixels, or of all of it."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        tall = size["height"] if height is None else height
        clip = {"x": 0, "y": 0, "width": size["width"], "height": tall, "scale": 1}
        shot = self.call(
            "Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip
        )
        file.write_bytes(base64.b64decode(shot["data"]))

    def complaints(self) -> list[str]:
        """Returns what the page's console and the browser's log have of errors and warnings."""
        found = []
        for event in self.events:
            given = event.get("params", {})
            if event.get("method") == "Log.entryAdded" and given["entry"]["level"] != "info":
                found.append(f"{given['entry']['text']} {given['entry'].get('url', '')}")
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(str(given["exceptionDetails"]))
            if event.get("method") == "Runtime.consoleAPICalled" and given["type"] != "log":
                found.append(str(given["args"]))
        return found

    def asked(self) -> set[str]:
        """Returns the addresses that were asked for."""
        return {
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        }


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[Tab]:
    """Runs a browser with an empty profile of its own."""
    command_end, commands = os.pipe()
    answers, answer_end = os.pipe()
    program = [PROGRAM, *FLAGS, f"--user-data-dir={profile}"]
    shell = f'exec "$@" 3<&{command_end} 4>&{answer_end}'
    process = subprocess.Popen(
        ["bash", "-c", shell, "browser", *program],
        pass_fds=(command_end, answer_end),
        stderr=subprocess.DEVNULL,
    )
    os.close(command_end)
    os.close(answer_end)
    tab = Tab(commands, answers)
    try:
        yield tab
    finally:
        with contextlib.suppress(BrowserError):
            tab.close()
        process.wait(30)
        os.close(commands)
        os.close(answers)
