# SPDX-License-Identifier: Apache-2.0
"""What people type without having read the manual."""

from __future__ import annotations

import pytest

from agent.cli.main import COMMANDS, ELSEWHERE, main, modules_of


def said(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    return out + err


def test_a_slip_of_the_pen_gets_the_nearest_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["statsu"]) == 2
    assert 'no command "statsu"; did you mean status?' in said(capsys)
    assert main(["xyzzy"]) == 2
    assert "`llmagent help` lists them" in said(capsys)


@pytest.mark.parametrize("word", ELSEWHERE)
def test_what_systemd_does_is_said_with_its_command(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word, "vllm"]) == 2
    assert ELSEWHERE[word].format("vllm") in said(capsys)


def test_a_wrong_option_is_told_with_the_usage_of_its_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["status", "--wath"])
    assert ended.value.code == 2
    text = said(capsys)
    assert text.startswith("usage: llmagent status")
    assert "unrecognized arguments: --wath; did you mean --watch?" in text


def test_help_is_a_word_too(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["help"], ["help", "events"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
    assert "usage: llmagent events" in said(capsys)


def test_without_a_command_the_status_is_shown_and_the_next_step(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 3
    text = said(capsys)
    assert "the daemon is not running" in text
    assert "llmagent help" in text


def test_an_option_without_a_command_is_one_of_the_status(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--check"]) == 3
    with pytest.raises(SystemExit):
        main(["--verbos", "--wath"])
    assert said(capsys).splitlines()[-1].startswith("llmagent status: error: unrecognized")
    with pytest.raises(SystemExit) as ended:
        main(["-v"])
    assert ended.value.code == 0
    assert said(capsys).startswith("llmagent ")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_is_for(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert modules_of([command])
    with pytest.raises(SystemExit):
        main([command, "--help"])
    mute = []
    lines = said(capsys).splitlines()
    begin = next(n for n, line in enumerate(lines) if line.startswith("options:"))
    for line, after in zip(lines[begin + 1 :], [*lines[begin + 2 :], ""], strict=True):
        words = line.split("  ")
        told = line.startswith("  -") and (len([w for w in words if w.strip()]) > 1)
        if line.startswith("  -") and not told and not after.startswith("          "):
            mute.append(line.strip())
    assert mute == []
