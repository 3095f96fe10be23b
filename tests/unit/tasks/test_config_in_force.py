# SPDX-License-Identifier: Apache-2.0
"""One typo in agent.toml does not blind the morning's tools."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.config.agent_toml import parse
from agent.errors import ConfigError
from agent.host.store.keys import LAST_GOOD_CONFIG
from agent.host.store.store import Store
from agent.tasks.config_in_force import OnReload, changes_on_reload, config_in_force

GOOD = '[service.vllm]\nmodel = "/srv/llama"\n'
TYPO = GOOD + "max_num_seq = 8\n"


def remembering(tmp_path: Path, text: str) -> Path:
    state = tmp_path / "llmagent.db"
    store, _ = Store.open(state)
    store.record({LAST_GOOD_CONFIG: json.dumps(text)}, [])
    store.close()
    return state


def test_a_good_file_is_what_is_in_force(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(GOOD)
    config, error = config_in_force(file, tmp_path / "no.db")
    assert list(config.services) == ["vllm"]
    assert error is None


def test_beside_a_file_with_a_mistake_the_last_good_one_is_in_force(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(TYPO)
    config, error = config_in_force(file, remembering(tmp_path, GOOD))
    assert config.services["vllm"].settings.model == "/srv/llama"
    assert error is not None
    assert "did you mean max_num_seqs?" in str(error)


@pytest.mark.parametrize("state", ["absent", "no database"])
def test_without_a_good_one_the_mistake_is_the_answer(tmp_path: Path, state: str) -> None:
    file, store = tmp_path / "agent.toml", tmp_path / "llmagent.db"
    file.write_text(TYPO)
    if state == "no database":
        store.write_text("this is text")
    with pytest.raises(ConfigError):
        config_in_force(file, store)


def test_what_a_reload_stops_is_told_before_it_does(tmp_path: Path) -> None:
    before = GOOD + "gpus = [0]\n"
    state = remembering(tmp_path, before)
    chat = '[service.chat]\nmodel = "/srv/chat"\nport = 8001\ngpus = [1]\n'
    new = f"{before}max_model_len = 8192\n{chat}"
    told = changes_on_reload(parse(new, "x"), state)
    assert told.changes == (
        "service.vllm.max_model_len: unset -> 8192 (restarts vllm.service)",
        "service.chat: added (starts chat.service)",
    )
    assert told.restarts == ("vllm.service",)
    assert changes_on_reload(parse(before, "x"), state) == OnReload()
    assert changes_on_reload(parse(new, "x"), tmp_path / "no.db") == OnReload()
    stranger = remembering(tmp_path, "of = 'old'\n")
    assert changes_on_reload(parse(GOOD, "x"), stranger) == OnReload()


def test_what_only_the_next_start_reads_restarts_nothing_and_a_port_of_the_agent_restarts_it(
    tmp_path: Path,
) -> None:
    state = remembering(tmp_path, GOOD)
    new = f"{GOOD}prefetch = false\n[metrics]\nlisten = '127.0.0.1:9999'\n"
    told = changes_on_reload(parse(new, "x"), state)
    assert len(told.changes) == 2
    assert told.restarts == ("llmagent.service",)
