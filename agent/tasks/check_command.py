# SPDX-License-Identifier: Apache-2.0
"""What of a service's whole command line vLLM would refuse, forget, or take out of our hands."""

from __future__ import annotations

from collections.abc import Iterator

from agent.config.values import nearest
from agent.core.command.escapes import escapes
from agent.core.command.given import Given, Place
from agent.core.command.options import KINDS, Kind
from agent.core.command.picture import file_arguments, forgotten, picture_of
from agent.core.engine.choices import parse_choices
from agent.core.engine.command_line import FLAGS
from agent.core.engine.install import Engine
from agent.core.settings.service import Settings
from agent.errors import UsageError
from agent.host.vllm.config_file import options_file

NEWEST_READ = (0, 33)
"""The newest release whose options are known here; a later one may take what this one refuses."""

SWITCHES_ALONE = (0, 9)
"""From here a switch takes no value; before, `--enable-prefix-caching=False` was how to say no."""

MOST_NAMED = 6


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
    if engine.at_least(*SWITCHES_ALONE):
        yield from (_with_a_value(given) for given in picture.options.values() if _is_valued(given))
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


def values_refused(settings: Settings, help_text: str) -> Iterator[tuple[str, str]]:
    """Yield key and sentence for each value that the installed vLLM's own help does not have.

    Raises nothing: what stands in a file that cannot be read is told by `mistakes_in_arguments`.
    """
    choices = parse_choices(help_text)
    for name, given in picture_of(settings).options.items():
        if name not in choices or given.value is None:
            continue
        for value in given.value if isinstance(given.value, tuple) else (given.value,):
            if str(value) not in choices[name]:
                key = name if name in FLAGS else "extra_args"
                yield key, _not_a_choice(given, str(value), sorted(choices[name]))


def _not_a_choice(given: Given, value: str, choices: list[str]) -> str:
    near = nearest(value, choices)
    few = ", ".join(choices[:MOST_NAMED]) + (" ..." if len(choices) > MOST_NAMED else "")
    hint = f"did you mean {near}?" if near else f"it takes {few}"
    return f"{given.spelled}: this vLLM takes no {value}; {hint}"


def _is_valued(given: Given) -> bool:
    switch = KINDS.get(given.name) in (Kind.PAIRED, Kind.ALONE)
    return switch and given.place is Place.COMMAND_LINE and any("=" in word for word in given.words)


def _with_a_value(given: Given) -> str:
    return f"{' '.join(given.words)}: vLLM refuses a value behind a switch; write {_alone(given)}"


def _alone(given: Given) -> str:
    word = given.name.replace("_", "-")
    return f"--{word}" if given.value is True else f"--no-{word}"
