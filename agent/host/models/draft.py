# SPDX-License-Identifier: Apache-2.0
"""The model that drafts for another: its config.json, and its weights' files where they are."""

from __future__ import annotations

from pathlib import Path

from agent.core.command.picture import Picture
from agent.core.planner.asked.speculation import OWN_DRAFTERS, Draft, speculation_of
from agent.core.planner.config_keys import NotAModelError
from agent.core.planner.model import model_of
from agent.errors import AgentError
from agent.host.models.config import read_model_config
from agent.host.models.files import weights_gib
from agent.host.models.known import known_config


def draft_of(picture: Picture, home: str) -> Draft | None:
    """Return the drafter that a command line names, None where it has none or it is not known.

    `home` is the service's HF_HOME.
    """
    speculation = speculation_of(picture)
    if speculation is None or speculation.model is None or speculation.method not in OWN_DRAFTERS:
        return None
    name = speculation.model
    try:
        config = read_model_config(name, None, home) or known_config(name)
        if config is None:
            return None
        files = weights_gib(Path(name)) if Path(name).is_dir() else None
        return Draft(model_of(config), files)
    except (NotAModelError, AgentError, OSError, ValueError, TypeError, KeyError):
        return None
