# SPDX-License-Identifier: Apache-2.0
"""What the kernel's tables of connections say of a host that nothing reaches."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.host.machine.tcp import is_cut_off

TITLE = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
OURS, PEER, ANOTHER = "0100630A:8E4F", "0200630A:A584", "0300630A:A584"
"""10.99.0.1, .2 and .3, each with a port, as a little-endian machine shows them."""

AGAIN = "0:                {local} {remote} 01 00000569:00000000 01:00000384 00000007"
"""Seen on the head 50 s after the cable of the other host was cut (vLLM 0.32, a request waits)."""


def line(remote: str = PEER, before: str = "", after: str = "") -> str:
    """Return a line of the table, in which `after` stands in place of `before`."""
    assert before in AGAIN
    shown = AGAIN.replace(before, after) if before else AGAIN
    rest = "999        0 1155 2 0000000000000000 20 4 30 10 -1"
    return f"   {shown.format(local=OURS, remote=remote)}  {rest}\n"


def tables(proc: Path, **files: str) -> Path:
    (proc / "net").mkdir()
    for name, lines in files.items():
        (proc / "net" / name).write_text(TITLE + lines)
    return proc


def test_what_is_sent_again_and_again_is_not_acknowledged(tmp_path: Path) -> None:
    assert is_cut_off({"10.99.0.2"}, tables(tmp_path, tcp=line(remote=ANOTHER) + line()))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("01:00000384", "04:00000384", id="a stopped process takes nothing just now"),
        pytest.param("00000007", "00000004", id="something was lost for a moment"),
        pytest.param("01:00000384 00000007", "00:00000000 00000000", id="nothing is on its way"),
        pytest.param(" 01 ", " 02 ", id="somebody asks a host that is off"),
        pytest.param("01:00000384 00000007", "", id="the line is cut short"),
    ],
)
def test_other_connections_show_nothing(tmp_path: Path, before: str, after: str) -> None:
    assert not is_cut_off({"10.99.0.2"}, tables(tmp_path, tcp=line(before=before, after=after)))


def test_the_connection_of_another_host_says_nothing_of_this_one(tmp_path: Path) -> None:
    assert not is_cut_off({"10.99.0.2"}, tables(tmp_path, tcp=line(remote=ANOTHER)))
    assert not is_cut_off({"10.99.0.20"}, tmp_path)


@pytest.mark.parametrize(
    ("address", "remote"),
    [
        ("10.99.0.2", "0000000000000000FFFF00000200630A:A584"),
        ("fd00::2", "000000FD000000000000000002000000:A584"),
        ("fe80::2%eth1", "000080FE000000000000000002000000:A584"),
    ],
)
def test_connections_over_ipv6_count(tmp_path: Path, address: str, remote: str) -> None:
    assert is_cut_off({address}, tables(tmp_path, tcp="", tcp6=line(remote=remote)))


def test_where_nothing_can_be_read_nothing_follows(tmp_path: Path) -> None:
    assert not is_cut_off({"10.99.0.2"}, tmp_path)
    assert not is_cut_off(set(), tables(tmp_path, tcp=line()))
