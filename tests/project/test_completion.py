# SPDX-License-Identifier: Apache-2.0
"""Completion is made from the parser; the shells themselves say what they would offer."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from agent.cli.main import COMMANDS
from tests.rig.paths import REPO

CONFIG: Final = "/etc/llmagent/agent.toml"
FILES: Final = {"bash": "bash/llmagent", "zsh": "zsh/_llmagent", "fish": "fish/llmagent.fish"}
SERVICES: Final = "[service.chat]\n[service.embed]\n[service.embed.recovery]\n"

ASK_BASH: Final = """
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_llmagent
printf '%s\\n' "${COMPREPLY[@]}"
"""

ASK_ZSH: Final = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
ask() { zpty -w shell "$1"; }
ask "PS1= ; stty -echo; fpath=($1 \$fpath); autoload -Uz compinit; compinit -u -D"
# What is offered is printed as well; -O, -A and -D only ask which words would match.
ask 'compadd() {
  if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return; fi
  local -a found; builtin compadd -O found "$@"
  (( $#found )) && print -rl -- "OFFER "${^found}
  builtin compadd "$@"
}'
ask 'tell() { zle complete-word; zle kill-whole-line; print -r -- "THE E""ND" }'
ask 'zle -N tell; bindkey "^X" tell; print -r -- "REA""DY"'
while zpty -r shell line; do [[ $line == *READY* ]] && break; done
zpty -n -w shell "$2"$'\C-X'
while zpty -r shell line; do print -r -- "$line"; [[ $line == *"THE END"* ]] && break; done
zpty -d shell
"""
"""A terminal of its own: zsh completes only where somebody types."""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the three files, with a configuration of our own in place of the host's."""
    made = tmp_path_factory.mktemp("completions")
    subprocess.run([REPO / "packaging/make-completions", made], check=True)
    config = made / "agent.toml"
    config.write_text(SERVICES)
    for file in (made / name for name in FILES.values()):
        file.write_text(file.read_text().replace(CONFIG, str(config)))
    return made


def asked(scripts: Path, shell: str, line: str) -> set[str]:
    """Returns what a shell offers at the end of the line."""
    match shell:
        case "bash":
            words = line.split(" ")
            file = str(scripts / FILES["bash"])
            argv = ["bash", "--norc", "-c", ASK_BASH, "ask", file, *words]
        case "zsh":
            argv = ["zsh", "-f", "-c", ASK_ZSH, "ask", str(scripts / "zsh"), line]
        case _:
            script = f"source {scripts / FILES[shell]}; complete -C $argv[1]"
            argv = ["fish", "--no-config", "-c", script, line]
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60)
    if shell == "zsh":
        return set(re.findall(r"OFFER (\S+)", done.stdout))
    return {offer.split("\t")[0].strip() for offer in done.stdout.splitlines()} - {""}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_offers_commands_options_values_services_and_files(
    scripts: Path, shell: str
) -> None:
    assert asked(scripts, shell, "llmagent ") >= {*COMMANDS, "help"}
    assert asked(scripts, shell, "llmagent sta") == {"status"}
    assert asked(scripts, shell, "llmagent status ") == {"chat", "embed"}
    assert asked(scripts, shell, "llmagent status e") == {"embed"}
    assert {"--watch", "--check"} <= asked(scripts, shell, "llmagent status --")
    assert asked(scripts, shell, "llmagent events --format j") == {"json"}
    assert "status" in asked(scripts, shell, "llmagent help st")
    found = asked(scripts, shell, f"llmagent check {scripts}/agent.t")
    assert {Path(file).name for file in found} == {"agent.toml"}


def test_bash_goes_on_behind_the_equals_sign_and_after_an_option_with_a_value(
    scripts: Path,
) -> None:
    # bash takes the equals sign for a word of its own.
    assert asked(scripts, "bash", "llmagent events --format = j") == {"json"}
    assert asked(scripts, "bash", "llmagent events --format json c") == {"chat"}
    assert asked(scripts, "bash", "llmagent events --format = json c") == {"chat"}
    assert asked(scripts, "bash", "llmagent status chat ") == set()


def test_what_help_hides_is_not_offered(scripts: Path) -> None:
    for file in FILES.values():
        assert "--reload" not in (scripts / file).read_text()
