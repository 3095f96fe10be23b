# SPDX-License-Identifier: Apache-2.0
"""What the kernel's tables of connections say of a host that nothing reaches."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.host.machine.tcp import is_cut_off

TITLE = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
PEER, ANOTHER = "0200630A:B5BC", "0300630A:B5BC"
"""10.99.0.2 and .3, each with a port, as a little-endian machine shows them."""

AGAIN = """\
  81: 0100630A:9217 0200630A:B5BC 01 00000162:00000000 01:00000144 00000009   996 \
       0 12576189 2 00000000cb6d0f1d 326 4 26 1 -1
"""
"""Seen on the head half a minute after the cable of the other host was cut (vLLM 0.32, two
replicas, and a request for the one on that host)."""


def line(remote: str = PEER, before: str = "", after: str = "") -> str:
    """Return a line of the table, in which `after` stands in place of `before`."""
    assert before in AGAIN
    shown = AGAIN.replace(before, after) if before else AGAIN
    return shown.replace(PEER, remote)


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
        pytest.param("01:00000144", "04:00000144", id="a stopped process takes nothing just now"),
        pytest.param("00000009", "00000004", id="something was lost for a moment"),
        pytest.param("01:00000144 00000009", "00:00000000 00000000", id="nothing is on its way"),
        pytest.param(" 01 ", " 02 ", id="somebody asks a host that is off"),
        pytest.param("01:00000144 00000009", "", id="the line is cut short"),
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
