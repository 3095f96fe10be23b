# SPDX-License-Identifier: Apache-2.0
"""What to do where no line of a log says why it ends as it does."""

from __future__ import annotations

KILLED = (
    "The process was killed from outside while it ran (SIGKILL leaves no word): journalctl -k "
    "names the OOM killer, docker inspect (State.OOMKilled) or kubectl describe pod (exit 137) a "
    "limit of the container, journalctl -u the unit a stop that was forced."
)
UNUSED = (
    "Nothing, if it was stopped unused. If the stop was asked for while it started, vLLM (0.16 and "
    "later) swallowed it: signal the whole cgroup (systemd does), and kill after the stop timeout."
)
STALLED = (
    "It served, and at the end of this log its processes waited for each other for minutes: a rank "
    "that hangs, or long work (a compilation, a very long prompt). py-spy dump --pid shows which; "
    "where nothing moves for five minutes restart it, and look for an Xid or a rank that is gone."
)
WAITING = (
    "Its processes waited for each other all this time. If it served before, it hangs: restart it, "
    "and look for an Xid or a rank that is gone. If it was loading or compiling a big model, these "
    "lines mean nothing; the lines before them tell which it is."
)
