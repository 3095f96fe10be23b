# SPDX-License-Identifier: Apache-2.0
"""`systemctl reload llmagent`: what the check refuses is handed to the daemon, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.daemon.refusal import hand_over, take_refusal


def test_mistakes_are_handed_over_and_told_once(tmp_path: Path) -> None:
    file = tmp_path / "refused.json"
    hand_over(["service.vllm.model: /srv/llamma does not exist"], file)
    assert take_refusal(file) == ("service.vllm.model: /srv/llamma does not exist",)
    assert take_refusal(file) == ()


def test_a_good_file_is_not_refused_by_what_an_agent_that_died_has_not_read(tmp_path: Path) -> None:
    file = tmp_path / "refused.json"
    hand_over(["an old mistake"], file)
    hand_over([], file)
    assert take_refusal(file) == ()


@pytest.mark.parametrize("text", ["no json", "3", ""])
def test_a_refusal_that_cannot_be_read_refuses_once(tmp_path: Path, text: str) -> None:
    file = tmp_path / "refused.json"
    file.write_text(text)
    (mistake,) = take_refusal(file)
    assert "could not be read" in mistake
    assert take_refusal(file) == ()
