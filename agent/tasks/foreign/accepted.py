# SPDX-License-Identifier: Apache-2.0
"""An imported table, tried on agent.toml's own readers: what they refuse is left out and named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.config.cluster_table import CLUSTER
from agent.config.engine_table import ENGINE
from agent.config.engine_values import environment
from agent.config.extra_args import extra_args
from agent.config.service import SETTINGS
from agent.config.values import Keys, WrongValueError
from agent.core.command.given import read_words
from agent.core.foreign.table import Imported


def accept(taken: Imported) -> None:
    """Take out of the table what agent.toml would refuse; its own words say why."""
    table = taken.table
    for key in [key for key in table if key in SETTINGS]:
        if key not in ("environment", "extra_args"):
            _try(taken, table, SETTINGS, key)
    for name, value in list(table.get("environment", {}).items()):
        try:
            environment({name: value})
        except WrongValueError as wrong:
            del table["environment"][name]
            taken.leave(name, str(wrong).removeprefix(f"{name} ").removeprefix(f"{name}: "))
    if "extra_args" in table:
        table["extra_args"] = list(_arguments(taken, table["extra_args"]))
    for name, keys in (("cluster", CLUSTER), ("engine", ENGINE)):
        for key in list(table.get(name, {})):
            _try(taken, table[name], keys, key)
    for key in ("environment", "extra_args"):
        if not table.get(key, True):
            del table[key]


def _try(taken: Imported, table: dict[str, Any], keys: Keys, key: str) -> None:
    value = table[key]
    if isinstance(value, list) and key in ("extra_options", "mounts"):
        for item in list(value):
            try:
                keys[key]([item])
            except WrongValueError as wrong:
                value.remove(item)
                taken.leave(f"{key} {item}", str(wrong))
        if not value:
            del table[key]
        return
    try:
        keys[key](value)
    except WrongValueError as wrong:
        del table[key]
        taken.leave(f"{key} = {value}", str(wrong))


def _arguments(taken: Imported, words: list[str]) -> tuple[str, ...]:
    kept: list[str] = []
    read = read_words(words)
    for given in read.options:
        try:
            kept += extra_args(list(given.words))
        except WrongValueError as wrong:
            taken.leave(" ".join(given.words), str(wrong))
    if read.config_file is not None:
        kept += ("--config", read.config_file)
    return tuple(kept)


def plain_of(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table as tomli_w writes it: lists for tuples, tables within as they are."""
    return {
        key: list(item) if isinstance(item, tuple) else item
        for key, item in value.items()
        if item is not None
    }
