# SPDX-License-Identifier: Apache-2.0
"""Raw journal fields become lines, whatever bytes they hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.host.journal.entry import (
    COREDUMP_MESSAGE_ID,
    SUPPRESSED_MESSAGE_ID,
    RawFields,
    decode_entry,
    suppressed_messages,
)

RUN = b"0123456789abcdef0123456789abcdef"
OTHER_RUN = b"f" * 32


def test_a_line_of_a_process_tells_run_process_and_program() -> None:
    entry = decode_entry(
        {
            "MESSAGE": b"ready",
            "_PID": b"321",
            "_SYSTEMD_UNIT": b"vllm.service",
            "_SYSTEMD_INVOCATION_ID": RUN,
            "SYSLOG_IDENTIFIER": b"vllm",
        },
        "s=1",
        12.5,
    )
    assert (entry.cursor, entry.realtime_seconds) == ("s=1", 12.5)
    assert (entry.invocation_id, entry.pid, entry.identifier) == (RUN.decode(), 321, "vllm")
    assert (entry.message, entry.from_manager) == ("ready", False)


def test_systemds_own_line_belongs_to_the_run_that_it_names() -> None:
    fields = {
        "MESSAGE": b"vllm.service: Main process exited, code=killed, status=9/KILL",
        "_PID": b"1",
        "_SYSTEMD_INVOCATION_ID": OTHER_RUN,
        "UNIT": b"vllm.service",
        "INVOCATION_ID": RUN,
    }
    entry = decode_entry(fields, "", 0)
    assert entry.from_manager
    assert entry.invocation_id == RUN.decode()


def test_a_process_cannot_pretend_to_be_systemd() -> None:
    fields = {
        "MESSAGE": b"forged",
        "_PID": b"99",
        "UNIT": b"vllm.service",
        "INVOCATION_ID": OTHER_RUN,
        "_SYSTEMD_INVOCATION_ID": RUN,
    }
    entry = decode_entry(fields, "", 0)
    assert not entry.from_manager
    assert entry.invocation_id == RUN.decode()


def test_a_core_dump_does_not_belong_to_the_dumpers_run() -> None:
    fields = {
        "MESSAGE_ID": COREDUMP_MESSAGE_ID.encode(),
        "COREDUMP_UNIT": b"vllm.service",
        "_SYSTEMD_INVOCATION_ID": OTHER_RUN,
    }
    assert decode_entry(fields, "", 0).invocation_id == ""


def test_progress_bars_keep_their_carriage_returns_and_colours() -> None:
    bar = b"\rLoading: 0%\rLoading: 100%\x1b[0m"
    assert decode_entry({"MESSAGE": bar}, "", 0).message == bar.decode()


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert decode_entry({"MESSAGE": b"a\xff\xfeb"}, "", 0).message == "a\ufffd\ufffdb"


def test_of_a_field_that_comes_twice_the_first_counts() -> None:
    assert decode_entry({"MESSAGE": [b"first", b"second"]}, "", 0).message == "first"


@given(
    st.dictionaries(
        st.sampled_from(["MESSAGE", "_PID", "UNIT", "INVOCATION_ID", "SYSLOG_IDENTIFIER"]),
        st.binary(max_size=40) | st.lists(st.binary(max_size=10), min_size=1, max_size=3),
    )
)
def test_no_bytes_can_stop_the_reader(fields: RawFields) -> None:
    entry = decode_entry(fields, "", 0)
    entry.message.encode()
    assert suppressed_messages(fields, "vllm.service") is None


def suppressed(message: bytes) -> RawFields:
    return {
        "MESSAGE_ID": SUPPRESSED_MESSAGE_ID.encode(),
        "MESSAGE": message,
        "N_DROPPED": b"162500",
        "_TRANSPORT": b"driver",
    }


def test_journald_tells_how_many_lines_of_a_unit_it_dropped() -> None:
    told = suppressed(b"Suppressed 162500 messages from vllm.service")
    assert suppressed_messages(told, "vllm.service") == 162500
    assert suppressed_messages(told, "llm.service") == 0


@pytest.mark.parametrize("number", [b"9" * 5000, "²".encode(), b"-1", b"1_0", b""])
def test_a_number_of_dropped_lines_that_is_none_counts_as_none(number: bytes) -> None:
    told = {**suppressed(b"Suppressed 1 messages from vllm.service"), "N_DROPPED": number}
    assert suppressed_messages(told, "vllm.service") == 0


def test_an_engine_that_says_it_of_itself_is_not_believed() -> None:
    told = suppressed(b"Suppressed 162500 messages from vllm.service")
    forged = {**told, "_TRANSPORT": b"journal"}
    assert suppressed_messages(forged, "vllm.service") is None
