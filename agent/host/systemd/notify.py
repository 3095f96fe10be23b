# SPDX-License-Identifier: Apache-2.0
"""Tells systemd how the agent is (sd_notify(3)); does nothing when systemd did not start it.

Each function tells whether systemd got the message. None raises: an agent that cannot report is
restarted by systemd's watchdog, which is the right end for it.
"""

from __future__ import annotations

import os
import time

from systemd import daemon


def ready(status: str) -> bool:
    """The agent has started, or has finished re-reading its configuration."""
    return _send("READY=1", _status(status))


def status(text: str) -> bool:
    """One line for `systemctl status`."""
    return _send(_status(text))


def watchdog() -> bool:
    """The deciding loop turned once more."""
    return _send("WATCHDOG=1")


def reloading() -> bool:
    """The configuration is being read again; `ready` ends it."""
    # Type=notify-reload (systemd 253) wants the time with it; older ones ignore that line.
    return _send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping() -> bool:
    """The agent is on its way out."""
    return _send("STOPPING=1")


def watchdog_interval_seconds() -> float | None:
    """Returns how long systemd waits for a `watchdog` before it kills; None when it does not."""
    interval = os.environ.get("WATCHDOG_USEC", "")
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(interval) / 1e6 if interval.isdecimal() and int(interval) > 0 else None


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())


def _send(*lines: str) -> bool:
    try:
        return bool(daemon.notify("\n".join(lines)))
    except OSError:
        return False
