# SPDX-License-Identifier: Apache-2.0
"""What `check` says of the files of addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.core.settings.notify import Notify
from agent.tasks.check_notify import what_keeps_from_telling


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (None, 0, "is no file; put an address of Apprise in it, mode 0600"),
        ("ntfy://ntfy.sh/topic\n", 0o644, "so others may read the addresses; chmod 600"),
        ("", 0o600, "is empty"),
    ],
)
def test_a_file_that_is_not_as_it_must_be_is_an_error(
    tmp_path: Path, content: str | None, mode: int, says: str
) -> None:
    file = tmp_path / "notify.urls"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    ((key, certain, sentence),) = what_keeps_from_telling(Notify(urls_file=str(file)))
    assert (key, certain) == ("urls_file", True)
    assert says in sentence
    assert "ntfy.sh" not in sentence


def test_what_is_in_order_and_what_is_not_asked_for_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "notify.urls"
    file.write_text("ntfy://ntfy.sh/topic\n")
    file.chmod(0o600)
    asked = Notify(urls_file=str(file), dead_mans_switch_file=str(file))
    assert list(what_keeps_from_telling(asked)) == []
    assert list(what_keeps_from_telling(Notify())) == []
