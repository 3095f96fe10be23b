# SPDX-License-Identifier: Apache-2.0
"""From nothing to served, and from a unit of one's own: README and the pages as they are typed."""

from __future__ import annotations

import re

import pytest

from tests.container.stories.stage import FOREIGN, KV_BYTES, MODEL, OWN, UNIT, Stage
from tests.rig import scripted
from tests.rig.installed import CONFIG, deb
from tests.rig.paths import REPO

README = (REPO / "README.md").read_text()
SUDO = 'sudo() { "$@"; }; cd /root; '
"""The person is root already; all else is as README has it."""


def first_commands() -> list[str]:
    """Returns README's first block, a command a line, without the comments behind them."""
    (block,) = re.findall(r"On a GPU server.*?```sh\n(.*?)```", README, re.S)
    return [line.partition(" # ")[0].rstrip() for line in block.splitlines()]


@pytest.mark.story("B1")
def test_what_readme_shows_first_is_typed_and_serves(stage: Stage) -> None:
    made, *typed = first_commands()
    assert made == "make deb"
    (package,) = re.findall(r"\./(llmagent_\S+\.deb)", typed[0])
    assert package == deb().name
    stage.says("apt-get purge -y llmagent; rm -rf /opt/vllm/bin", timeout=120)
    stage.box.put(deb(), f"/root/{package}")
    stage.give_a_known_model()
    scripted.set_scenario(stage.box, {"kv_bytes_per_token": KV_BYTES})
    said = stage.says(SUDO + typed[0], timeout=120)
    assert "sudo llmagent init" in said
    # The host has no model that it knows of, so that its name is asked for, and consent.
    shown = stage.shows(SUDO + typed[1], typed=f"{MODEL}\ny\n")
    assert "8 x NVIDIA H200" in shown or "GPU 7" in shown or "NVIDIA H200" in shown
    assert "written. Next: `systemctl reload llmagent`" in shown
    stage.says(SUDO + typed[2])
    stage.wait("serving")
    assert stage.says("llmagent").startswith("all is well: 1 service")


@pytest.mark.story("B13")
def test_readmes_example_passes_check_on_a_host_that_has_what_it_names(stage: Stage) -> None:
    example, _ = re.findall(r"```toml\n(.*?)```", README, re.S)
    stage.box.write(OWN, example)
    said = stage.says(f"llmagent check {OWN}", status=2)
    # What it names and this host lacks, each with the command that makes it, and nothing else.
    for line in re.findall(r"(?m)^.*: error: (.*)$", said):
        assert line.split(": ")[0] in {"service.vllm.python", "service.embed.python"}, line
        assert "pip install vllm" in line
    stage.box.write(OWN, example.replace("/opt/vllm/bin/python", scripted.PYTHON))
    stage.says(f"llmagent check {OWN}")


@pytest.mark.story("B3")
def test_an_engine_of_ones_own_is_shown_as_a_table_and_taken_over(stage: Stage) -> None:
    stage.write("# my notes\n")
    before = stage.serve_foreign()
    (found,) = stage.json("import", "vllm.service")
    table = found["services"]["vllm"]
    assert (table["model"], table["port"], table["max_model_len"]) == ("/srv/llama", 8000, 4096)
    assert stage.box.read(CONFIG) == "# my notes\n"
    assert stage.pid("vllm") == before
    line = f"-- {scripted.PYTHON} -m vllm.entrypoints.cli.main serve /srv/llama --port 8000"
    for source in (f"{before}", UNIT, line):
        assert 'model = "/srv/llama"' in stage.says(f"llmagent import {source}")
    compose = (
        "services:\n  llm:\n    image: vllm/vllm-openai:v0.10.2\n    command: --model /srv/llama\n"
    )
    stage.box.write("/root/compose.yml", compose)
    shown = stage.types("llmagent import /root/compose.yml").stdout
    assert 'model = "/srv/llama"' in shown
    assert "`llmagent import /root/compose.yml` reads it" in stage.says(
        "llmagent check /root/compose.yml", status=2
    )
    (done,) = stage.json("import", "vllm.service", "--take-over", "--yes")
    assert (done["taken_over"], done["written"]) == (True, True)
    assert stage.status()["phase"] == "serving"
    assert stage.box.read(f"{UNIT}.before-llmagent") == FOREIGN
    assert stage.box.read(CONFIG).startswith("# my notes\n")
    stage.says(f"rm {UNIT}.before-llmagent")
