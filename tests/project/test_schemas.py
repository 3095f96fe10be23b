# SPDX-License-Identifier: Apache-2.0
"""The JSON Schemas are those of what is read and printed: no key more, none less."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from agent.cli.main import COMMANDS, main, parser_of
from agent.config.values import WrongValueError
from agent.core.view.snapshot import to_json
from agent.host.store.store import Event, Store
from tests.given.full_output import FULL
from tests.project.test_packaging import MAN, SHIPPED, TABLES
from tests.rig.paths import REPO

MAKE: Final = REPO / "packaging/schemas"
PLACES: Final = {
    "[service.NAME]": ("service", "*"),
    "[service.NAME.engine]": ("service", "*", "engine"),
    "[service.NAME.expect]": ("service", "*", "expect"),
    "[service.NAME.recovery]": ("service", "*", "recovery"),
    "[power]": ("power",),
    "[power.gpu.PATTERN]": ("power", "gpu", "*"),
    "[thermal]": ("thermal",),
    "[metrics]": ("metrics",),
    "[notify]": ("notify",),
    "[fleet]": ("fleet",),
}


@cache
def made() -> dict[str, dict[str, Any]]:
    """Makes the schemas; returns them by the names of their files, without .json."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([sys.executable, "-B", MAKE, directory], check=True)
        files = Path(directory).glob("*.json")
        return {file.stem: json.loads(file.read_text()) for file in files}


@pytest.fixture(scope="module")
def schemas() -> dict[str, dict[str, Any]]:
    return made()


def wrong(schema: Mapping[str, Any], document: object) -> list[str]:
    """Returns what is wrong with a document, "" for nothing."""
    found = Draft7Validator(schema).iter_errors(document)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in found]


def test_each_is_a_schema(schemas: dict[str, dict[str, Any]]) -> None:
    for schema in schemas.values():
        Draft7Validator.check_schema(schema)


def test_every_command_that_prints_json_has_one(schemas: dict[str, dict[str, Any]]) -> None:
    parser, commands = parser_of(COMMANDS)
    printing = {
        name
        for name, own in commands.choices.items()
        if any("--format" in action.option_strings for action in own._actions)
    }
    # A command that is new needs a function in packaging/schemas/printed.py.
    assert schemas.keys() == {*printing, "status-hosts", "agent.toml"}
    assert parser.prog == "llmagent"


def table_of(schemas: Mapping[str, Mapping[str, Any]], title: str) -> Mapping[str, Any]:
    """Returns the schema of one table of agent.toml."""
    schema = schemas["agent.toml"]
    for step in PLACES[title]:
        schema = schema["additionalProperties"] if step == "*" else schema["properties"][step]
    return schema


def test_every_table_that_is_read_is_in_the_schema() -> None:
    assert PLACES.keys() == TABLES.keys()


@pytest.mark.parametrize("title", PLACES)
def test_the_schema_has_each_key_with_its_description(
    title: str, schemas: dict[str, dict[str, Any]]
) -> None:
    keys, _ = TABLES[title]
    table = table_of(schemas, title)
    values = {n: s for n, s in table["properties"].items() if s.get("properties") is None}
    assert {name for name in values if name != "gpu"} == keys.keys()
    assert [n for n, s in values.items() if n != "gpu" and not s.get("description")] == []
    assert table["additionalProperties"] is False


VALUES: Final = st.one_of(
    st.booleans(),
    st.integers(-2, 100_000),
    # To JSON Schema 2.0 is an integer, to TOML it is none.
    st.floats(-1, 200).filter(lambda number: not number.is_integer()),
    st.text(max_size=8),
    st.sampled_from(["auto", "fp8", "/srv/model", "org/name", "127.0.0.1:9836", "03:00-05:00"]),
    st.sampled_from(["all", "stop", "alert", "docker", "podman", "vllm", "drain", "strict", "cdi"]),
    st.lists(st.one_of(st.integers(0, 3), st.sampled_from(["--seed", "/data", "1"])), max_size=3),
    st.dictionaries(st.sampled_from(["A_B", "VLLM_X"]), st.sampled_from(["1", "x"]), max_size=2),
)


@given(VALUES)
def test_what_the_reader_takes_the_schema_takes_and_wrong_types_neither(value: Any) -> None:
    for title, (keys, _) in TABLES.items():
        for key, reader in keys.items():
            schema = table_of(made(), title)["properties"][key]
            try:
                reader(value)
            except WrongValueError as refusal:
                is_of_a_type = re.search(
                    r"is not (a string|true or false|an integer|a number)$", str(refusal)
                )
                assert not is_of_a_type or wrong(schema, value), (title, key, value)
            else:
                assert wrong(schema, value) == [], (title, key, value)


def test_examples_are_valid_and_typing_mistakes_are_seen(
    schemas: dict[str, dict[str, Any]],
) -> None:
    schema = schemas["agent.toml"]
    uncommented = re.sub(r"(?m)^# (?=\[|[a-z_]+ = )", "", SHIPPED.read_text())
    page = (MAN / "agent.toml.5").read_text()
    examples = re.findall(r"(?s)\.Bd -literal -offset indent\n(.*?)\.Ed", page)
    for text in (SHIPPED.read_text(), uncommented, *examples):
        assert wrong(schema, tomllib.loads(text.replace(r"\(dq", '"').replace(r"\e", "\\"))) == []
    service = {"model": "org/name"}
    assert wrong(schema, {"service": {"vllm": {**service, "modle": "x"}}})
    assert wrong(schema, {"service": {"vllm": {}}})
    assert wrong(schema, {"sevice": {}})
    assert wrong(schema, {"service": {"vllm": {**service, "port": 70000}}})


def printed(argv: list[str], capsys: pytest.CaptureFixture[str]) -> list[Any]:
    """Returns what a command prints, each line of JSON or one document."""
    main([*argv, "--format", "json"])
    said = capsys.readouterr().out
    try:
        return [json.loads(said)]
    except ValueError:
        return [json.loads(line) for line in said.splitlines()]


def test_what_the_commands_print_is_as_the_schemas_say(
    schemas: dict[str, dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, broken, empty = (tmp_path / name for name in ("good.toml", "broken.toml", "empty.toml"))
    good.write_text('[service.vllm]\nmodel = "org/name"\n')
    broken.write_text("[service.vllm]\nmodle = 1\n")
    empty.write_text("")
    status = tmp_path / "status.json"
    status.write_text(json.dumps(to_json(replace(FULL, at_seconds=time.time()))))
    store = tmp_path / "llmagent.db"
    with Store.open(store)[0] as opened:
        opened.record(
            {}, [Event(1.0, "vllm", "ready", "up", {"seconds": 3}), Event(2.0, "", "x", "y", {})]
        )
    log = tmp_path / "vllm.log"
    log.write_text(
        "INFO 11-28 10:00:00 [api_server.py:1] vLLM API server version 0.10.2\n"
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total "
        "capacity of 23.55 GiB of which 1.00 GiB is free.\n"
    )
    two = tmp_path / "compose.log"
    two.write_text(
        "".join(
            f"{name}  | {line}\n"
            for name in ("chat-1", "embed-1")
            for line in log.read_text().splitlines()
        )
    )
    model = "meta-llama/Llama-3.1-8B-Instruct"
    config = ["--config", str(empty)]
    asked = [
        ["check", str(good), "--no-engine"],
        ["check", str(broken)],
        ["plan", model, "--gpu", "RTX 4090"],
        ["plan", model, "--cards"],
        ["plan", model, "--formats", "--gpu", "L4"],
        ["plan", model, "--sweep", "--gpu", "H200"],
        ["profiles"],
        ["doctor", "--offline", *config],
        ["render", *config],
        ["status", "--file", str(status)],
        ["why", "--file", str(status)],
        ["events", "--state", str(store)],
        ["diagnose", str(log)],
        ["diagnose", str(two)],
        ["bundle", "--output", str(tmp_path / "b.tar.gz"), *config],
        ["import", "--config", str(empty), "--", "vllm", "serve", model],
    ]
    for argv in asked:
        if argv[0] == "import":
            argv = [*argv[:3], "--format", "json", *argv[3:]]
            documents = [json.loads(_said(argv, capsys))]
        else:
            documents = printed(argv, capsys)
        assert documents, argv
        for document in documents:
            assert wrong(schemas[argv[0]], document) == [], argv


def _said(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    main(argv)
    return capsys.readouterr().out
