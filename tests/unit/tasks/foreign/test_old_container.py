# SPDX-License-Identifier: Apache-2.0
"""A container that is replaced ends, makes room, and comes back with its name and policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.errors import HostLacksError
from agent.tasks.foreign.old_engine import OldEngine, old_engine
from agent.tasks.foreign.source import Kind, Source

RUNTIME = """#!/usr/bin/python3
import json, pathlib, sys
file = pathlib.Path(__file__).with_name("containers.json")
boxes = json.loads(file.read_text())
verb, *words = sys.argv[1:]
name = words[-1] if verb != "rename" else words[0]
if name not in boxes:
    sys.exit(125)
box = boxes[name]
if verb == "container":
    print(json.dumps([{**box, "Name": name}]))
elif verb == "update":
    if "fixed" in box:
        sys.exit(125)
    box["HostConfig"]["RestartPolicy"]["Name"] = words[0].partition("=")[2]
elif verb in ("stop", "start"):
    box["State"]["Running"] = verb == "start"
elif verb == "rename":
    boxes[words[1]] = boxes.pop(name)
file.write_text(json.dumps(boxes))
"""
"""A runtime with the few verbs that are used; what has "fixed" cannot change its policy."""


class Runtime:
    """docker or podman as a program in PATH, with one container."""

    def __init__(self, here: Path, name: str, box: dict[str, Any]) -> None:
        self.file = here / "containers.json"
        self.name = name
        policy = {"RestartPolicy": {"Name": box.pop("policy")}}
        whole = {"HostConfig": policy, "State": {"Running": True}, **box}
        self.file.write_text(json.dumps({"vllm": whole}))
        (here / name).write_text(RUNTIME)
        (here / name).chmod(0o755)

    def old(self, service: str) -> OldEngine:
        return old_engine(Source(Kind.CONTAINER, "vllm", (), runtime=self.name), service)

    def boxes(self) -> dict[str, tuple[str, bool]]:
        """Returns policy and whether it runs, by name."""
        read = json.loads(self.file.read_text())
        return {
            name: (box["HostConfig"]["RestartPolicy"]["Name"], box["State"]["Running"])
            for name, box in read.items()
        }


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


@pytest.mark.parametrize("runtime", ["docker", "podman"])
def test_one_of_the_services_name_makes_room_and_comes_back(runtime: str, tmp_path: Path) -> None:
    there = Runtime(tmp_path, runtime, {"policy": "unless-stopped"})
    before = there.boxes()
    old = there.old("vllm")
    old.end()
    assert there.boxes() == {"vllm.before-llmagent": ("no", False)}
    assert old.way_back() == (
        f"{runtime} rename vllm.before-llmagent vllm",
        f"{runtime} update --restart=unless-stopped vllm",
        f"{runtime} start vllm",
    )
    old.bring_back()
    assert there.boxes() == before


def test_one_of_another_name_keeps_it(tmp_path: Path) -> None:
    there = Runtime(tmp_path, "docker", {"policy": "no"})
    old = there.old("chat")
    old.end()
    assert there.boxes() == {"vllm": ("no", False)}
    assert old.way_back() == ("docker start vllm",)


def test_what_podman_cannot_change_does_not_come_back_by_itself_either(tmp_path: Path) -> None:
    there = Runtime(tmp_path, "podman", {"policy": "on-failure", "fixed": True})
    old = there.old("vllm")
    old.end()
    assert there.boxes() == {"vllm.before-llmagent": ("on-failure", False)}
    old.bring_back()
    assert there.boxes() == {"vllm": ("on-failure", True)}


def test_what_docker_cannot_change_is_not_stopped(tmp_path: Path) -> None:
    there = Runtime(tmp_path, "docker", {"policy": "always", "fixed": True})
    with pytest.raises(HostLacksError, match="docker update vllm failed"):
        there.old("vllm").end()
    assert there.boxes() == {"vllm": ("always", True)}
