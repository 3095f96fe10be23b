# SPDX-License-Identifier: Apache-2.0
"""The file of well-known models, of which a table is parsed when it is asked for."""

import tomllib
from importlib import resources

from agent.host.models.known import known_config, known_models


def test_tables_parsed_one_by_one_are_those_of_the_whole_file() -> None:
    text = (resources.files("agent.models") / "known.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    whole = {}
    for key, own in tables.items():
        base = tables.get(own.get("like", ""), {})
        table = {**tables.get(base.get("like", ""), {}), **base, **own}
        whole.update(dict.fromkeys((key, *own.get("also", ())), table))
    assert dict(known_models()) == whole


def test_a_name_without_its_publisher_is_known_too() -> None:
    assert known_config("somebody/Llama-3.1-8B-Instruct") is not None
    assert known_config("nobody/nothing") is None
