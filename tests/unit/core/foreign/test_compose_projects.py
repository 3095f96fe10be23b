# SPDX-License-Identifier: Apache-2.0
"""A compose project of several files is what `docker compose config` makes of it.

Each expectation was compared with Compose 2.26 (`docker compose config`), by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.foreign.compose.merge import finished, merged
from agent.core.foreign.compose.project import MOST_EXTENDED, MOST_FILES
from agent.core.foreign.compose.services import engines_of_compose
from agent.core.foreign.found import Found
from agent.core.foreign.table import Imported, table_of
from agent.host.files.yaml_text import yaml_documents

TAGS = ("!reset", "!override")


class Project:
    """The files of a project below /srv/app, and which of them were asked for."""

    def __init__(self, **files: str) -> None:
        self.files = {f"/srv/{name}": text for name, text in files.items()}
        self.asked: list[str] = []

    def content(self, path: str) -> Mapping[str, Any] | None:
        self.asked.append(path)
        text = self.files.get(path)
        found: Mapping[str, Any] | None = None if text is None else yaml_documents(text, TAGS)[0]
        return found

    def read(self, name: str) -> str | None:
        return self.files.get(name if name.startswith("/") else f"/srv/app/{name}")

    def tables(self, *texts: str, **variables: str) -> dict[str, Imported]:
        base = Found("", (), variables, directory="/srv/app", home="/home/me")
        contents = [yaml_documents(text, TAGS)[0] for text in texts]
        found = engines_of_compose(contents, base, "docker", self.read, self.content)
        return {one.name: table_of(one) for one in found}


def project(files: Mapping[str, str]) -> Project:
    return Project(**files)


def told(taken: Imported, what: str) -> str:
    return next(left.why for left in taken.left if left.what.startswith(what))


COMMON = """
services:
  base:
    extends: root
    environment: [VLLM_LOGGING_LEVEL=DEBUG, OMP_NUM_THREADS=4]
    env_file: vars.env
    volumes: ["./models:/models", "/data/hub:/root/.cache/huggingface"]
    ports: ["8000:8000"]
    command: --model org/other
    deploy: {resources: {reservations: {devices: [{device_ids: ["0"], capabilities: [gpu]}]}}}
  root:
    image: vllm/vllm-openai:${TAG:-v0.25.1}
    shm_size: 20gb
    extra_hosts: {hub: 10.0.0.1}
"""


def test_what_a_service_extends_in_another_file_is_its_own() -> None:
    files = project({"common/vllm.yml": COMMON, "common/vars.env": "VLLM_X=1\n"})
    taken = files.tables(
        """
services:
  chat:
    extends: {file: ../common/vllm.yml, service: base}
    command: [--model, /models/llama, --max-num-seqs, "4"]
    environment: {OMP_NUM_THREADS: 8}
    volumes: ["/fast/hub:/root/.cache/huggingface"]
    ports: ["127.0.0.1:9000:8000"]
    extra_hosts: ["db:10.0.0.2"]
""",
        TAG="v0.26.0",
    )["chat"]
    assert taken.table == {
        "model": "/srv/common/models/llama",
        "host": "0.0.0.0",
        "port": 8000,
        "max_num_seqs": 4,
        "gpus": [0],
        "environment": {
            "VLLM_X": "1",
            "VLLM_LOGGING_LEVEL": "DEBUG",
            "OMP_NUM_THREADS": "8",
            "HF_HOME": "/fast/hub",
        },
        "engine": {
            "runtime": "docker",
            "image": "vllm/vllm-openai:v0.26.0",
            "extra_options": [
                *("--add-host=hub:10.0.0.1", "--add-host=db:10.0.0.2", "--shm-size=20gb"),
            ],
        },
    }
    assert [left.what for left in taken.left] == ["port 9000:8000"]
    assert files.asked == ["/srv/common/vllm.yml"]


def test_a_service_of_the_same_file_is_extended_and_both_are_engines() -> None:
    taken = project({}).tables(
        "services:\n"
        "  a: {image: 'vllm/vllm-openai:v0.25.1', command: --model org/a --port 8001,\n"
        "      network_mode: host, ulimits: {nofile: {soft: 1, hard: 2}}, entrypoint: [x]}\n"
        "  b: {extends: {service: a}, command: --model org/b --port 8002, entrypoint: null}\n"
    )
    assert [taken[name].table["model"] for name in "ab"] == ["org/a", "org/b"]
    assert told(taken["a"], "entrypoint x")
    assert taken["b"].left == []


def test_an_override_file_adds_and_its_tags_replace() -> None:
    taken = project({}).tables(
        "services:\n  a:\n    image: vllm/vllm-openai:v0.25.1\n    command: org/m\n"
        "    ports: ['8000:8000']\n    volumes: ['/a:/m', '/b:/n']\n"
        "    environment: {VLLM_A: 1, VLLM_B: 1}\n    cap_add: [SYS_NICE]\n",
        "services:\n  a:\n    ports: !override ['9000:8000']\n    volumes: ['/c:/m']\n"
        "    environment: {VLLM_A: !reset null, VLLM_C: 3}\n    cap_add: !reset []\n"
        "    command: /m/x --chat-template /n/t\n",
    )["a"]
    assert taken.table["port"] == 9000
    assert (taken.table["model"], taken.table["chat_template"]) == ("/c/x", "/b/t")
    assert taken.table["environment"] == {"VLLM_B": "1", "VLLM_C": "3"}
    assert "extra_options" not in taken.table["engine"]


def test_what_an_extended_service_is_overridden_with_is_not_inherited() -> None:
    taken = project({}).tables(
        "services:\n  a: {image: 'vllm/vllm-openai:v0.25.1', command: org/a}\n  b: {extends: a}\n",
        "services:\n  a: {command: org/other}\n",
    )
    assert [taken[name].table["model"] for name in "ab"] == ["org/other", "org/a"]


def test_included_files_bring_their_services_with_their_own_directory_and_variables() -> None:
    inner = "services: {c: {image: 'vllm/vllm-openai:${TAG}', volumes: ['./m:/m'], command: /m/x}}"
    files = project({"inc/compose.yaml": inner, "inc/.env": "TAG=v0.26.0\n"})
    taken = files.tables("include: [../inc/compose.yaml, gone.yaml, 'oci://h/x']\nservices: {}")
    assert taken["c"].table["model"] == "/srv/inc/m/x"
    assert taken["c"].table["engine"]["image"] == "vllm/vllm-openai:v0.26.0"
    assert told(taken["c"], "include: gone.yaml")
    assert told(taken["c"], "include: oci://h/x")
    assert not any("oci" in path for path in files.asked)


@pytest.mark.parametrize(
    ("extends", "why"),
    [
        ("a", "leads back"),
        ("{file: loop.yml, service: a}", "leads back"),
        ("{file: gone.yml, service: a}", "cannot be read"),
        ("{service: gone}", "no such service"),
        ("{file: loop.yml}", "no such service"),
        ("[a]", "no such service"),
        ("{file: 'https://git.example/x.git', service: a}", "another host"),
        ("{file: 'git@git.example:x.git', service: a}", "another host"),
    ],
)
def test_what_is_not_followed_is_told_and_the_rest_is_read(extends: str, why: str) -> None:
    loop = "services: {a: {extends: {file: ../app/loop.yml, service: b}}, b: {extends: a}}"
    files = project({"app/loop.yml": loop})
    service = f"{{image: 'vllm/vllm-openai:v0.25.1', command: org/m, extends: {extends}}}"
    taken = files.tables(f"services: {{a: {service}}}")["a"]
    assert taken.table["model"] == "org/m"
    assert why in told(taken, "extends: ")
    assert len(files.asked) <= 1


def test_files_and_steps_have_a_bound() -> None:
    chain = {
        f"app/{n}.yml": f"services: {{s: {{extends: {{file: {n + 1}.yml, service: s}}}}}}"
        for n in range(50)
    }
    files = project(chain)
    text = (
        "services: {s: {image: vllm/vllm-openai, command: m, extends: {file: 0.yml, service: s}}}"
    )
    taken = files.tables(text)["s"]
    assert told(taken, "extends: s")
    assert len(files.asked) <= MOST_FILES
    many = "".join(f"  s{n}: {{extends: s}}\n" for n in range(3 * MOST_EXTENDED))
    all_ = project({}).tables(f"services:\n  s: {{image: vllm/vllm-openai, command: m}}\n{many}")
    followed = [name for name in all_ if all_[name].table.get("model") == "m"]
    assert len(followed) == 1 + MOST_EXTENDED


LISTS = st.lists(st.sampled_from(["/a:/m", "/b:/m:ro", "/c:/n", "v:/n", "/o"]), max_size=4)
SERVICES = st.fixed_dictionaries(
    {},
    optional={
        "volumes": LISTS,
        "command": st.sampled_from(["x", ["y"]]),
        "environment": st.dictionaries(st.sampled_from("AB"), st.sampled_from("12")),
        "ports": st.lists(st.sampled_from(["1:1", "2:1", "1:1/udp", "127.0.0.1:1:1"]), max_size=3),
    },
)


@given(SERVICES, SERVICES)
def test_each_place_has_one_volume_and_the_later_file_wins(
    base: dict[str, Any], later: dict[str, Any]
) -> None:
    both = finished(merged(base, later))
    places = [item.split(":")[1] if ":" in item else item for item in both.get("volumes", [])]
    assert len(places) == len(set(places))
    assert set(later.get("volumes", [])[-1:]) <= set(both.get("volumes", []))
    assert both.get("command") == later.get("command", base.get("command"))
    assert {**base.get("environment", {}), **later.get("environment", {})} == both.get(
        "environment", {}
    )
    assert set(both.get("ports", [])) == {*base.get("ports", []), *later.get("ports", [])}
