# SPDX-License-Identifier: Apache-2.0
"""What `check` says of the files with which other hosts are asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.core.settings.fleet import Fleet
from agent.tasks.fleet.check_fleet import what_keeps_from_asking


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (None, 0, "is no file; put the password in it"),
        ("secret\n", 0o640, "so others may read the password; chmod 600"),
        ("", 0o600, "is empty"),
    ],
)
def test_a_password_that_cannot_be_used_or_is_open_is_an_error(
    tmp_path: Path, content: str | None, mode: int, says: str
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    fleet = Fleet(("https://gpu-02",), "fleet", str(file))
    ((key, certain, sentence),) = what_keeps_from_asking(fleet)
    assert (key, certain) == ("password_file", True)
    assert says in sentence
    assert "secret" not in sentence


def test_a_password_on_its_way_without_tls_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    file.chmod(0o600)
    fleet = Fleet(("https://gpu-02", "gpu-03"), "fleet", str(file))
    ((key, certain, sentence),) = what_keeps_from_asking(fleet)
    assert (key, certain) == ("hosts", False)
    assert "goes to gpu-03 unencrypted" in sentence


def test_certificates_may_be_read_by_everybody_and_nothing_asked_for_says_nothing(
    tmp_path: Path,
) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("a certificate")
    file.chmod(0o644)
    assert list(what_keeps_from_asking(Fleet(("gpu-02",), ca_file=str(file)))) == []
    assert list(what_keeps_from_asking(Fleet())) == []
