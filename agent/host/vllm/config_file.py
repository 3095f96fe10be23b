# SPDX-License-Identifier: Apache-2.0
"""The file behind vLLM's --config: YAML with options as keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agent.core.command.given import read_words
from agent.errors import UsageError
from agent.host.files.own import read_own
from agent.host.files.yaml_text import check_nesting, yaml_document

if TYPE_CHECKING:
    from agent.core.settings.service import Settings

MOST_BYTES = 256 * 1024


def options_file(settings: Settings) -> Mapping[str, Any] | None:
    """Return what stands in the file of a service's --config, None where it has none.

    Raises UsageError when the file cannot be read as vLLM would.
    """
    file = read_words(settings.extra_args).config_file
    return None if file is None else read_options_file(file)


def options_file_or_none(settings: Settings) -> Mapping[str, Any] | None:
    """Return the same, None also for a file that cannot be read: who starts the service is told."""
    try:
        return options_file(settings)
    except UsageError:
        return None


def read_options_file(file: str) -> Mapping[str, Any]:
    """Return the keys of a file; raises UsageError with its name and what is wrong with it."""
    import yaml  # only where such a file is used: it takes 2 MiB

    try:
        text = read_own(file, MOST_BYTES)
        check_nesting(text)
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            # Aliases of aliases make gigabytes of a few lines.
            raise UsageError(f"{file} uses aliases (*name): write the values out")
        content = yaml_document(text)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:
        first = " ".join(str(error).split())[:200]
        raise UsageError(f"{file} is not YAML: {first}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{file} holds no keys; vLLM expects lines like: max-model-len: 8192")
    return content
