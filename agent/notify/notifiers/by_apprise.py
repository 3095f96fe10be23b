# SPDX-License-Identifier: Apache-2.0
"""Notifiers that Apprise knows by their URLs: ntfy, mail, Slack, Telegram, webhooks and many more.

The file is one of Apprise's own (text or YAML, https://github.com/caronc/apprise/wiki/config), so
that what is written of Apprise elsewhere holds here. Debian 12 has 1.2.0.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from agent.notify.notifiers.notifier import Note, Notifier

TYPES = {"info": "info", "warning": "warning", "critical": "failure"}
"""Apprise's NotifyType by our severity."""

_STATUS = re.compile(r"error=(\d{3})\b")


class ByApprise:
    """One URL of the file."""

    def __init__(self, number: int, plugin: Any, said: _Said) -> None:
        self.name = f"{number} {plugin.service_name or 'notifier'}"
        self._plugin = plugin
        self._said = said

    def send(self, note: Note) -> str:
        """Send it; what Apprise logs of a failure may hold the URL, so only its kind is told."""
        self._said.lines.clear()
        kind = TYPES.get(note.severity, "info")
        try:
            taken = self._plugin.notify(title=note.title, body=note.body, notify_type=kind)
        # A plugin is other people's code: one that fails keeps nobody else from being told.
        except Exception as error:  # noqa: BLE001
            return f"failed ({type(error).__name__})"
        return "" if taken else self._said.why()


class _Said(logging.Handler):
    """Keeps what Apprise logs during one sending."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def why(self) -> str:
        """Return the kind of the failure: an HTTP status, no connection, or not known."""
        for line in self.lines:
            if status := _STATUS.search(line):
                return f"refused it (HTTP {status[1]})"
            if "onnection error" in line or "onnection Error" in line:
                return "could not be reached, or did not answer in time"
        return "did not take it"


def notifiers_of(path: str) -> tuple[Notifier, ...]:
    """Return the notifiers of a file of Apprise URLs.

    Raises ValueError with a sentence where Apprise is not installed or the file has none.
    """
    try:
        import apprise  # a package that only who wants to be told needs
    except ImportError:
        raise ValueError("apprise is not installed: `apt install apprise`") from None
    said = _Said()
    logger = logging.getLogger("apprise")
    logger.addHandler(said)
    logger.propagate = False
    config = apprise.AppriseConfig()
    config.add(f"file://{path}")
    every = apprise.Apprise()
    every.add(config)
    plugins = list(every)
    if not plugins:
        raise ValueError("the file of [notify] urls_file has no URL that Apprise understands")
    return tuple(ByApprise(number, plugin, said) for number, plugin in enumerate(plugins, 1))
