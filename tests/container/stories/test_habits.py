# SPDX-License-Identifier: Apache-2.0
"""What people do to a serving unit out of habit: none of it ends the protection or the serving."""

from __future__ import annotations

import pytest

from tests.container.stories.stage import FOREIGN, OWN, UNIT, Stage
from tests.rig import scripted
from tests.rig.installed import OURS, service_table

EDITOR = "#!/bin/sh\nsed -i 's/^Description=.*/Description=mine/' \"$@\"\n"


@pytest.mark.story("A1", "A7", "B14")
def test_disable_mask_edit_and_a_removed_link_leave_the_engine_running(stage: Stage) -> None:
    box = stage.box
    engine = stage.serve()

    # disable removes the unit, which is only a link
    stage.says("systemctl -q disable vllm")
    box.wait_for(lambda: box.run(["readlink", UNIT], check=False).stdout, 20, "the link")
    # A removed link, which systemd hears of at the next daemon-reload.
    stage.says(f"rm {UNIT}; systemctl daemon-reload")
    box.wait_for(lambda: box.run(["readlink", UNIT], check=False).stdout, 20, "the link")

    # a mask stays a mask: what runs goes on under it, and after it
    stage.says("systemctl -q --force mask vllm")
    held = stage.wait("held")["held"]
    assert "vllm.service is masked, so it is left alone" in held["why"]
    assert held["what_to_do"].startswith("systemctl unmask vllm")
    assert box.run(["readlink", UNIT]).stdout == "/dev/null\n"
    stage.says("llmagent status --check", status=1)
    stage.says("systemctl -q unmask vllm")
    stage.wait("serving")
    assert "which ran all the while, goes on" in stage.events("adopted")[-1]["message"]
    assert stage.pid("vllm") == engine

    # edit --full puts a file in the place of the link
    box.write("/root/editor", EDITOR, mode=0o755)
    stage.shows("EDITOR=/root/editor systemctl edit --full vllm")
    assert "Description=mine" in box.read(UNIT)
    held = stage.wait("held")["held"]
    assert f"{UNIT} is not llmagent's" in held["why"]
    assert "`systemctl edit vllm` is for lines of yours, which are kept" in held["what_to_do"]
    stage.says(f"rm {UNIT}; systemctl daemon-reload")
    stage.wait("serving")
    assert stage.pid("vllm") == engine
    assert len(scripted.starts(box)) == 1

    # and it is still protected
    stage.says("systemctl kill --kill-whom=main --signal=KILL vllm")
    box.wait_for(lambda: stage.pid("vllm") not in (0, engine), 30, "a new process")
    stage.wait("serving")
    assert not stage.events("stopped")
    stage.says("llmagent status --check")

    # a stop is a stop, and nothing of the last run is shown as proven
    stage.says("systemctl stop vllm")
    assert stage.wait("stopped")["verification"] == []
    assert "proven" not in stage.says("llmagent status --verbose")
    assert not [
        line
        for line in stage.metrics().splitlines()
        if line.startswith("llmagent_service_verification{") and line.endswith(" 1.0")
    ]
    stage.says("llmagent status --check", status=1)
    stage.says("llmagent verify", status=1)


@pytest.mark.story("A2", "A8", "B7", "B8")
def test_a_mistake_in_agent_toml_stops_nothing_and_blinds_nobody(stage: Stage) -> None:
    engine = stage.serve()
    wrong = service_table(**OURS).replace("/srv/llama", "/srv/llamma")
    stage.write(wrong)
    assert "service.vllm.model: /srv/llamma does not exist" in stage.says(
        "llmagent check", status=2
    )
    # check's own words are on the terminal, and in the pipe of a script
    said = "service.vllm.model: /srv/llamma does not exist"
    assert said in stage.shows("systemctl reload llmagent")
    assert said in stage.says("systemctl reload llmagent", status=1)

    # the port of another program
    listen = "python3 -m http.server --bind 127.0.0.1 8010"
    stage.says(f"systemd-run --quiet --unit=squatter {listen}")
    stage.box.wait_for(lambda: stage.box.http_get(8010, "/").status, 10, "the squatter")
    stage.write(service_table(port=8010, **OURS))
    taken = "service.vllm.port: 8010 is taken by python3"
    assert taken in stage.says("llmagent check", status=2)
    assert taken in stage.says("systemctl reload llmagent", status=1)
    stage.says("systemctl stop squatter")

    # a name that is none: doctor and verify look at what is in force
    stage.write(service_table(**OURS).replace("max_model_len", "max_modle_len"))
    stage.says("systemctl reload llmagent", status=1)
    stage.box.wait_for(
        lambda: "did you mean max_model_len?" in stage.says("llmagent status"), 10, "the mistake"
    )
    doctor = stage.says("llmagent doctor --offline", status=1)
    assert "(vllm)" in doctor
    assert "FAIL configuration" in doctor
    verified = stage.says("llmagent verify")
    assert "The last good one is in force and verified." in verified
    assert stage.pid("vllm") == engine
    assert len(stage.events("refused")) == 4

    # what cannot be, and the token: the cure is typed as it is printed
    table = service_table(
        gpus=[9], quantization="fp9", kv_cache_dtype="int3", hf_token_file="/etc/llmagent/hf_token"
    )
    stage.box.write(OWN, table)
    said = stage.says(f"llmagent check {OWN}", status=2)
    for sentence in (
        "9 is no GPU of this host; there are 0, 1, 2, 3, 4, 5, 6, 7",
        "has no fp9; did you mean fp8?",
        "has no int3; did you mean int8?",
    ):
        assert sentence in said
    command = said.partition("put the token in it: sudo ")[2].partition(",")[0]
    stage.says(f"echo hf_{20 * 'a'} | {command}")
    assert stage.says("stat --format=%a /etc/llmagent/hf_token") == "600\n"
    assert "hf_token" not in stage.says(f"llmagent check {OWN}", status=2)
    for text, words in (
        ("[service.vllm]\nmodel = org/name\n", "a string stands in quotes"),
        ('[service.vllm]\nmodel = "a/b"\nmodel = "a/c"\n', "a key is given twice"),
        ("services:\n  vllm: {}\n", "this may be YAML"),
    ):
        stage.box.write(OWN, text)
        assert words in stage.says(f"llmagent check {OWN}", status=2)
    stage.says("rm /etc/llmagent/hf_token")


@pytest.mark.story("A5", "A6", "B3")
def test_a_unit_of_ones_own_is_seen_left_alone_and_replaced_when_the_file_is_gone(
    stage: Stage,
) -> None:
    assert "no service" in stage.says("llmagent verify", status=1)
    mine = stage.serve_foreign()
    doctor = stage.says("llmagent doctor --offline")
    assert "`llmagent import vllm.service`" in doctor
    stage.write(service_table(**OURS))
    assert "is not llmagent's and is left alone" in stage.says("llmagent check")
    assert "(as it would be)" in stage.says("llmagent render --diff", status=1)
    stage.says("systemctl reload llmagent")
    held = stage.wait("held")["held"]
    assert "llmagent stops what was started from it and starts its own" in held["what_to_do"]
    assert stage.pid("vllm") == mine
    # What my unit does not tell is unknown, and unknown is no pass.
    assert "not verified" in stage.says("llmagent verify", status=1)
    # The file is moved away: what ends, and what is then mine, is told as it is.
    stage.says(f"mv {UNIT} /root/mine.service; systemctl daemon-reload")
    stage.wait("serving")
    told = [event["message"] for event in stage.events()]
    assert f"the name vllm.service is free now: process {mine}, started without llmagent, ends" in [
        message for message in told if "free now: process" in message
    ]
    assert not [message for message in told if f"as process {mine}" in message]
    assert FOREIGN in stage.box.read("/root/mine.service")


@pytest.mark.story("B12")
def test_a_service_that_agent_toml_drops_is_not_forgotten_while_it_runs(stage: Stage) -> None:
    engine = stage.serve()
    stage.write("")
    assert "on reload: service.vllm: removed" in stage.says("llmagent check")
    assert "on reload: service.vllm: removed" in stage.shows("systemctl reload llmagent")
    status = stage.box.wait_for(
        lambda: [text for text in [stage.says("llmagent status")] if "still runs" in text],
        20,
        "the agent to say so",
    )
    assert "nobody watches it: put [service.vllm] back" in status[0]
    assert "vllm.service runs and is not in agent.toml" in stage.says("llmagent doctor --offline")
    stage.write(service_table(**OURS))
    stage.says("systemctl reload llmagent")
    stage.wait("serving")
    assert stage.pid("vllm") == engine
    # When it began is not known any more: no second is made up.
    assert stage.events("ready")[-1]["message"] == "/health answers 200"
    assert len(stage.events("up")) == 1
