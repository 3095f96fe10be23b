# SPDX-License-Identifier: Apache-2.0
"""What /proc says of one process, by files that can be read even while it hangs in the kernel.

/proc/PID/cmdline, maps and environ are not among them: they wait for a lock of its memory.
"""

from __future__ import annotations

from pathlib import Path

from agent.core.record import dataclass
from agent.host.systemd.transient import TransientError, run_transient

PROC = Path("/proc")
UNINTERRUPTIBLE = "D"


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """`state` is the kernel's letter (R, S, D, Z, T, ...), `rss_bytes` its resident memory.

    `inside_pid` is what the process itself takes for its id: another one in a container.
    """

    pid: int
    name: str
    state: str
    uid: int
    threads: int
    rss_bytes: int
    inside_pid: int


def process_status(pid: int) -> ProcessStatus | None:
    """Return the status of a process, None when it is gone."""
    try:
        text = (PROC / str(pid) / "status").read_text(errors="replace")
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return ProcessStatus(
        pid=pid,
        name=fields["Name"].strip(),
        state=fields["State"].split()[0],
        uid=int(fields["Uid"].split()[0]),
        threads=int(fields["Threads"]),
        rss_bytes=int(fields.get("VmRSS", "0 kB").split()[0]) * 1024,
        inside_pid=int(fields.get("NSpid", str(pid)).split()[-1]),
    )


def kernel_function(status: ProcessStatus, deadline_seconds: float) -> str:
    """Return the kernel's function that an uninterruptible process waits in, "" when not known."""
    if status.state != UNINTERRUPTIBLE:
        return ""
    argv = ["/bin/cat", str(PROC / str(status.pid) / "wchan")]
    try:
        return run_transient(argv, status.uid, deadline_seconds).strip()
    except TransientError:
        return ""
