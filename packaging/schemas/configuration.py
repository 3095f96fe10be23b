# SPDX-License-Identifier: Apache-2.0
"""agent.toml: its keys, types and limits by its readers, its descriptions by agent.toml(5)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shapes import BOOLEAN, INTEGER, PATH, STRING, WORD, Schema, many, one_of, shape, table

from agent.config.agent_toml import METRICS
from agent.config.cluster_table import CLUSTER
from agent.config.engine_table import ENGINE
from agent.config.fleet import KEYS as FLEET
from agent.config.gpus import LIMITS, POWER, THERMAL
from agent.config.notify import KEYS as NOTIFY
from agent.config.service import EXPECT, RECOVERY, SETTINGS

READ: Mapping[str, Schema] = {
    "boolean": BOOLEAN,
    "share": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    "text": WORD,
    "token": WORD,
    "model": WORD,
    "user": WORD,
    "host": WORD,
    "_image": WORD,
    "_address": WORD,
    "_interface": WORD,
    "_peers": many(WORD),
    "address": {"type": "string", "pattern": ":[0-9]{1,5}$"},
    "window": {"type": "string", "pattern": "^[0-9]{1,2}:[0-9]{2}-[0-9]{1,2}:[0-9]{2}$"},
    "absolute_path": PATH,
    "plain_path": PATH,
    "plain_path_or_nothing": {"type": "string", "pattern": "^(/.*)?$"},
    "token_file": PATH,
    "_hosts": many(WORD),
    "user_of_http": WORD,
    "_file_of_urls": {"type": "string", "pattern": "^(/.*)?$"},
    "_time_of_day": {"type": "string", "pattern": "^[0-9]{1,2}:[0-9]{2}$"},
    "socket_path": PATH,
    "gpus": {"anyOf": [{"enum": ["all"]}, many({"type": ["integer", "string"]})]},
    "clock_range": {"type": "array", "items": INTEGER, "minItems": 2, "maxItems": 2},
    "extra_args": many(STRING),
    "environment": table(STRING),
    "writable_directories": many(PATH),
    "outgoing_addresses": many(WORD),
    "_entrypoint": many(WORD),
    "_list_of.<locals>.read_list": many(WORD),
}
"""What each reader of agent.toml takes, by its name; a new reader needs its line here."""


PAGE = Path(__file__).resolve().parents[1] / "man/agent.toml.5"


def of_reader(reader: Any) -> Schema:
    """Return the schema of what a reader takes, with the limits that it was made with."""
    name, made_with = reader.__qualname__, inspect.getclosurevars(reader).nonlocals
    if name == "integer.<locals>.read":
        high = made_with["high"]
        most = {} if high is None else {"maximum": high}
        return {"type": "integer", "minimum": made_with["low"], **most}
    if name == "number.<locals>.read":
        return {"type": "number", "minimum": made_with["low"], "maximum": made_with["high"]}
    if name == "one_of.<locals>.read":
        return one_of(*(str(choice) for choice in made_with["choices"]))
    return READ[name]


def manual() -> dict[str, dict[str, str]]:
    """Return the first sentence of each key in agent.toml(5), by the title of its table."""
    page = PAGE.read_text().replace(r"\(dq", '"')
    told: dict[str, dict[str, str]] = {}
    for section in page.split("\n.Ss ")[1:]:
        title, _, body = section.partition("\n")
        body = re.split(r"(?m)^\.S[hs] ", body)[0]
        keys = re.findall(r"(?ms)^\.It Ic (\w+)[^\n]*\n(.*?)(?=^\.It |^\.El)", body)
        told[title.strip('"')] = {key: _sentence(text) for key, text in keys}
    return told


def _sentence(mdoc: str) -> str:
    words = []
    for line in mdoc.split("\n"):
        if line.startswith((".Pp", ".Bl", ".Bd")):
            break
        if line.startswith("."):
            line = re.sub(r"^\.\w\w ", "", line)
            line = re.sub(r"\b(?:Ns|No|Li|Ic|Pa|Sy|Cm|Ar|Fl|Ev|Xr) ", "", line)
            line = re.sub(r" ([.,;:)])", r"\1", line)
        words.append(line)
    text = " ".join(" ".join(words).split()).replace("\\&", "").replace("\\-", "-")
    return re.split(r"(?<=\.) ", text)[0]


def keys_of(keys: Mapping[str, Any], told: Mapping[str, str]) -> dict[str, Schema]:
    """Return the schemas of the keys of one table, each with what the manual says of it."""
    return {
        key: {**of_reader(reader), **({"description": told[key]} if told.get(key) else {})}
        for key, reader in keys.items()
    }


def agent_toml() -> Schema:
    """Return the schema of agent.toml."""
    told = manual()

    def known(title: str, keys: Mapping[str, Any], **tables: Schema) -> Schema:
        properties = {**keys_of(keys, told[title]), **tables}
        return shape(properties, frozenset(properties))

    service = known(
        "[service.NAME]",
        SETTINGS,
        cluster=known("[service.NAME.cluster]", CLUSTER),
        engine=known("[service.NAME.engine]", ENGINE),
        expect=known("[service.NAME.expect]", EXPECT),
        recovery=known("[service.NAME.recovery]", RECOVERY),
    )
    service["required"] = ["model"]
    told["[power.gpu.PATTERN]"] |= {key: told["[power]"][key] for key in LIMITS if key in POWER}
    cards = table(known("[power.gpu.PATTERN]", LIMITS))
    tables = {
        "service": {**table(service), "propertyNames": {"pattern": "^[A-Za-z0-9][A-Za-z0-9_-]*$"}},
        "power": known("[power]", POWER, gpu=cards),
        "thermal": known("[thermal]", THERMAL),
        "notify": known("[notify]", NOTIFY),
        "metrics": known("[metrics]", METRICS),
        "fleet": known("[fleet]", FLEET),
    }
    return shape(tables, frozenset(tables))
