# SPDX-License-Identifier: Apache-2.0
"""What a person must do about a model that cannot be fetched, with the page and file to go to."""

from __future__ import annotations

from agent.core.failures.classes import FailureClass
from agent.core.failures.meaning import advice_for_class as in_general
from agent.core.hub.cache import hub_cache, hub_of
from agent.core.settings.service import Settings

THEN = "then `systemctl reload llmagent`."


def advice_for_fetch(failure: FailureClass, settings: Settings) -> str:
    """Return it in one or two sentences; never says what is in the token's file."""
    page, file = f"{hub_of(settings)}/{settings.model}", settings.hf_token_file
    token = (
        f"with the account whose token is in {file}"
        if file is not None
        else "and name a file with a token of that account as hf_token_file"
    )
    match failure:
        case FailureClass.GATED_REPO:
            return f"Accept the licence on {page} {token}, {THEN}"
        case FailureClass.HUB_AUTH if file is not None:
            return f"Put a token that the hub accepts into {file}, {THEN}"
        case FailureClass.REPO_NOT_FOUND:
            whose = file or "hf_token_file, which is not set"
            return (
                f"Correct model or revision in agent.toml ({page}); if it is private, give a token "
                f"that may see it in {whose}, {THEN}"
            )
        case FailureClass.DISK_FULL:
            return f"Free space in {hub_cache(settings)}, or give another HF_HOME in environment."
        case _:
            return f"{in_general(failure)} Afterwards `systemctl reload llmagent`."
