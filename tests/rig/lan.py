# SPDX-License-Identifier: Apache-2.0
"""A switch that booted machines are joined by, with a cable each that can be cut, deaf or slow.

The switch is a bridge in a network namespace of its own, which ends with the process that made it:
two test runs cannot meet, and a run that is killed leaves nothing behind. `Container(..., lan=lan)`
plugs a machine in at every boot, as `host0`, with an address of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from tests.rig.nspawn import wait

NETWORK: Final = "10.99.0"
"""The first three numbers of every address; the mask is /24."""
INTERFACE: Final = "host0"
"""What the machine calls its end of the cable."""
_SWITCH: Final = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"]
# No dummy device and no "action drop" in every kernel: what goes to an end that is down is gone.
_BEGIN: Final = """\
link add switch type bridge
link set switch up
link add hole type veth peer name bottom
"""
_BURST_BYTES: Final = 3200
_SYN_WITHOUT_ACK: Final = "match ip protocol 6 0xff match u8 0x02 0x12 at 33"
"""A packet that opens a TCP connection; its IP header has no options."""


class Lan:
    """A switch; use it as a context manager, around the machines that are plugged into it."""

    def __init__(self) -> None:
        self._cables = 0
        self._holder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._holder = subprocess.Popen(_SWITCH, stdin=subprocess.DEVNULL)
        wait(lambda: _network_of(self.pid) not in ("", _network_of(os.getpid())), 10, "the switch")
        self.ip(_BEGIN)
        return self

    def __exit__(self, *_: object) -> None:
        if self._holder is not None:
            self._holder.send_signal(signal.SIGKILL)
            self._holder.wait(10)

    @property
    def pid(self) -> int:
        """A process in the switch's network, for nsenter; AssertionError while it is off."""
        assert self._holder is not None, "the switch is off: use it as a context manager"
        return self._holder.pid

    def cable(self) -> Cable:
        """Returns a new cable; the first has address .1, the second .2, and so on."""
        self._cables += 1
        return Cable(self, self._cables)

    def ip(self, script: str, *, may_fail: bool = False) -> None:
        """Runs commands of ip(8), one a line, in the switch. AssertionError if one fails."""
        _batch(self.pid, "ip", script, may_fail=may_fail)

    def tc(self, script: str) -> None:
        """Runs commands of tc(8), one a line, in the switch. AssertionError if one fails."""
        _batch(self.pid, "tc", script)


class Cable:
    """Joins one machine to the switch; what is done to it outlives a reboot of the machine."""

    def __init__(self, lan: Lan, number: int) -> None:
        self.address: Final = f"{NETWORK}.{number}"
        """The machine's own, without the mask."""
        self._lan = lan
        # As on a real card: the others find it again after a boot.
        self._mac = f"02:00:0a:63:00:{number:02x}"
        self._port = f"port{number}"
        self._leader = 0
        self._is_cut = False
        self._losses: list[str] = []
        self._rate = 0

    def plug(self, leader: int) -> None:
        """Gives the machine with this PID 1 its interface, with the faults that were asked for."""
        if self._leader:
            # The kernel takes the old end with the machine's network, but not at once.
            self._lan.ip(f"link del {self._port}", may_fail=True)
        self._leader = leader
        end = f"peer name {INTERFACE} address {self._mac} netns {leader}"
        self._lan.ip(f"link add {self._port} type veth {end}\nlink set {self._port} master switch")
        _batch(leader, "ip", f"addr add {self.address}/24 dev {INTERFACE}\nlink set {INTERFACE} up")
        self._lan.tc(f"qdisc add dev {self._port} ingress")
        self._lan.ip(f"link set {self._port} {'down' if self._is_cut else 'up'}")
        self._filter()
        self._shape()

    def cut(self) -> None:
        """Pulls the cable out: the machine sees no carrier, the others see nothing at all."""
        self._is_cut = True
        self._lan.ip(f"link set {self._port} down")

    def lose(self, to: Sequence[Cable], *, openings_only: bool = False) -> None:
        """Lets what this machine sends to others vanish; what they send to it arrives.

        A TCP connection needs both ways, so that it stalls as on a cut cable. openings_only: as
        behind a firewall, this machine can open no connection to the others, but they can to it.
        """
        which = _SYN_WITHOUT_ACK if openings_only else ""
        self._losses += [f"match ip dst {other.address}/32 {which}" for other in to]
        self._filter()

    def slow(self, bytes_per_second: int) -> None:
        """Lets so little through in each direction; the kernel's token bucket, not its netem."""
        self._rate = bytes_per_second
        self._shape()

    def mend(self) -> None:
        """Makes it whole."""
        self._is_cut, self._rate = False, 0
        self._losses.clear()
        self._lan.ip(f"link set {self._port} up")
        self._filter()
        self._shape()

    def _filter(self) -> None:
        """Brings the port's filters to what is to be lost."""
        at = f"dev {self._port} parent ffff:"
        action = "action mirred egress redirect dev hole"
        rules = [f"filter add {at} protocol ip u32 {which} {action}" for which in self._losses]
        self._lan.tc("\n".join([f"filter del {at}", *rules]))

    def _shape(self) -> None:
        """Brings both ends to the rate."""
        for pid, device in ((self._lan.pid, self._port), (self._leader, INTERFACE)):
            bucket = f"tbf rate {self._rate}bps burst {_BURST_BYTES} latency 2s"
            _batch(
                pid, "tc", f"qdisc replace dev {device} root {bucket if self._rate else 'pfifo'}"
            )


def _network_of(pid: int) -> str:
    """Returns the name of a process's network namespace, "" when it has ended."""
    with suppress(OSError):
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    return ""


def _batch(pid: int, program: str, script: str, *, may_fail: bool = False) -> None:
    argv = ["nsenter", "-t", str(pid), "-n", "--", program, "-batch", "-"]
    done = subprocess.run(argv, input=script, check=False, capture_output=True, text=True)
    assert may_fail or done.returncode == 0, f"{program}: {done.stderr}\n{script}"
