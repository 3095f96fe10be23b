# SPDX-License-Identifier: Apache-2.0
"""What of a service's whole command line vLLM would refuse, forget, or take out of our hands."""

from __future__ import annotations

from collections.abc import Iterator

from agent.core.command.escapes import escapes
from agent.core.command.given import Place
from agent.core.command.picture import file_arguments, forgotten, picture_of
from agent.core.engine.install import Engine
from agent.core.settings.service import Settings
from agent.errors import UsageError
from agent.host.vllm.config_file import options_file

NEWEST_READ = (0, 33)
"""The newest release whose options are known here; a later one may take what this one refuses."""


def mistakes_in_arguments(settings: Settings, engine: Engine) -> Iterator[str]:
    """Yield a sentence for each mistake in extra_args and in the file that it names."""
    try:
        content = options_file(settings)
    except UsageError as error:
        yield str(error)
        content = None
    picture = picture_of(settings, content)
    is_read = not engine.at_least(NEWEST_READ[0], NEWEST_READ[1] + 1)
    if is_read:
        yield from picture.mistakes
    if content is None:
        return
    file = picture.config_file
    inside = file_arguments(content)
    for sentence in (*escapes(inside.options), *(inside.mistakes if is_read else ())):
        yield f"{file}: {sentence}"
    for flag in inside.unknown if is_read else ():
        yield f"{file}: no vLLM up to {'.'.join(map(str, NEWEST_READ))} has {flag}"
    for key in forgotten(content):
        wanted = key.replace("_", "-")
        yield f"{file}: vLLM reads no `{key}: false`, only `{wanted}: false`; write it so"
    for given in inside.options:
        kept = picture.options.get(given.name)
        if kept is not None and kept.place is Place.KEY and kept.value != given.value:
            yield (
                f"{file}: {given.name} is {given.value} there and {kept.value} by agent.toml, "
                f"which holds; take it out of the file"
            )
