# SPDX-License-Identifier: Apache-2.0
"""What shall be planned: a service of agent.toml, a unit, a command line, or a model by itself."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from agent.cli.planning.words import Divided
from agent.core.command.given import read_words
from agent.core.command.picture import Picture, file_arguments, picture_of, picture_of_line
from agent.core.planner.asked.reading import mistakes_in, overridden
from agent.core.record import dataclass
from agent.errors import UsageError
from agent.host.files.unit_text import unit_text
from agent.host.models.config import read_model_config
from agent.host.models.files import read_config, weights_gib
from agent.host.models.known import known_config, what_it_is
from agent.host.models.snapshot import cached_gib, directory_of, with_files_beside
from agent.host.vllm.config_file import read_options_file
from agent.places import MODELS_DIRECTORY

if TYPE_CHECKING:
    from agent.core.settings.service import ServicePolicy, Settings

YAML = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Subject:
    """`picture` is all that is asked of vLLM, `given` what of it stands on plan's command line.

    `config` is the model's config.json, `files_gib` its weights' files where they are here, `home`
    the HF_HOME of the service, `version` the vLLM that would run it where that is known.
    """

    picture: Picture
    given: frozenset[str]
    config: Mapping[str, Any]
    files_gib: float | None
    home: str
    settings: Settings | None = None
    before: Picture | None = None
    """What the service's settings ask, without what stands on plan's command line."""

    version: str | None = None
    notes: tuple[str, ...] = ()


def subject_of(args: argparse.Namespace, words: Divided) -> Subject:
    """Return what the command line names; raises UsageError with every mistake in it."""
    given = read_words(words.vllm)
    before, settings, version, notes = _base(args, words)
    picture = _laid_over(before, picture_of_line(words.vllm))
    if str(args.config).endswith(YAML):
        content = read_options_file(str(args.config))
        inside = file_arguments(content)
        picture = replace(
            picture,
            options=MappingProxyType({**{x.name: x for x in inside.options}, **picture.options}),
            mistakes=(*picture.mistakes, *inside.mistakes),
        )
    mistakes = mistakes_in(picture)
    if mistakes:
        raise UsageError("; ".join(mistakes))
    home = _home(settings, picture)
    name = args.model or picture.text("model")
    config, files_gib = _model(name, args.config_json, picture.text("revision"), home)
    return Subject(
        picture=picture,
        given=frozenset(option.name for option in given.options),
        config=overridden(config, picture),
        files_gib=files_gib,
        home=home,
        settings=settings,
        before=None if settings is None else before,
        version=version,
        notes=notes,
    )


def _home(settings: Settings | None, picture: Picture) -> str:
    if settings is None:
        return picture.environment.get("HF_HOME", str(MODELS_DIRECTORY))
    from agent.core.unit.environment import environment_of  # with all settings: for a service only

    return environment_of(settings)["HF_HOME"]


def _laid_over(base: Picture, more: Picture) -> Picture:
    return replace(
        base,
        options=MappingProxyType({**base.options, **more.options}),
        mistakes=(*base.mistakes, *more.mistakes),
        unknown=(*base.unknown, *more.unknown),
    )


def _base(
    args: argparse.Namespace, words: Divided
) -> tuple[Picture, Settings | None, str | None, tuple[str, ...]]:
    """Return the picture of what is named, its settings, its engine's version, and notes."""
    if words.line is not None:
        if args.service is not None:
            raise UsageError(f"{args.service} and a command line behind -- are two things to plan")
        return _line(words.line, {}, ())
    name: str | None = args.service
    if name is None:
        return Picture(), None, None, ()
    settings = _service(name, args.config)
    if settings is not None:
        file = read_words(settings.extra_args).config_file
        content = None if file is None else read_options_file(file)
        from agent.host.vllm.install import version_of  # a third of the time of a model's plan

        return picture_of(settings, content), settings, version_of(settings), ()
    unit = unit_text(name)
    if unit is None and name.endswith(".service"):
        unit = unit_text(f"./{name}")
    if unit is not None:
        from agent.core.command.unit_file import unit_command  # with shlex: only where needed

        command = unit_command(unit)
        notes = tuple(f"EnvironmentFile {file} of the unit is not read" for file in command.files)
        return _line(command.words, command.environment, notes)
    if "/" in name or Path(name).exists() or known_config(name) is not None:
        return picture_of_line((name,)), None, None, ()
    raise UsageError(_nothing_named(name, args.config))


def _line(
    words: tuple[str, ...], environment: Mapping[str, str], notes: tuple[str, ...]
) -> tuple[Picture, None, str | None, tuple[str, ...]]:
    from agent.core.command.line import NotVllmError, vllm_line  # with shlex: only where needed

    try:
        line = vllm_line(words)
    except NotVllmError as error:
        raise UsageError(str(error)) from error
    file = read_words(line.words).config_file
    content = None if file is None else read_options_file(file)
    picture = picture_of_line(line.words, {**environment, **line.environment}, content)
    return picture, None, _version(line.program, line.image), notes


def _version(program: str, image: str) -> str | None:
    """Return the version of vLLM in a virtual environment, by its Python or `vllm`, or an image."""
    if image:
        from agent.core.settings.engine import version_in  # with re: only where needed

        return version_in(image)
    if not program.startswith("/"):
        return None
    from agent.host.vllm.install import inspect  # a third of the time of a model's plan

    python = program if "python" in Path(program).name else str(Path(program).with_name("python"))
    return inspect(python).version


def _service(name: str, config: Path) -> Settings | None:
    if str(config).endswith(YAML) or not config.exists() or "/" in name:
        return None
    services = _services(config)
    return services[name].settings if name in services else None


def _services(config: Path) -> Mapping[str, ServicePolicy]:
    from agent.config.agent_toml import load  # a third of the time of a model's plan

    return load(config).services


def _nothing_named(name: str, config: Path) -> str:
    there = ""
    if not str(config).endswith(YAML) and config.exists():
        known = ", ".join(_services(config)) or "none"
        there = f"{config} has no [service.{name}] (there are: {known}), "
    return f"{there}there is no unit {name}.service here, and no model is called {name}"


def _model(
    name: str | None, config_json: Path | None, revision: str | None, home: str
) -> tuple[Mapping[str, Any], float | None]:
    """Return config.json's numbers and the GiB of the weights' files where they are here."""
    if config_json is not None:
        files_gib = weights_gib(Path(name)) if name and Path(name).exists() else None
        return read_config(config_json), files_gib
    if name is None:
        raise UsageError(
            "name a model, a SERVICE of agent.toml, a UNIT, or a command line: -- vllm serve MODEL"
        )
    if Path(name).is_dir():
        return _in_directory(Path(name))
    if Path(name).suffix == ".gguf" and Path(name).is_file():
        beside = Path(name).with_name("config.json")
        if not beside.is_file():
            raise UsageError(f"{name}: name the original model's config.json with --config-json")
        return read_config(beside), weights_gib(Path(name))
    config = read_model_config(name, revision, home)
    if config is not None:
        place = directory_of(name, revision, home)
        return with_files_beside(config, place), cached_gib(name, revision, home)
    config = known_config(name)
    if config is None:
        raise UsageError(what_it_is(name) or _nowhere(name, home))
    return config, None


def _in_directory(place: Path) -> tuple[Mapping[str, Any], float | None]:
    if (place / "model_index.json").is_file() and not (place / "config.json").is_file():
        raise UsageError(f"{place}: is a pipeline of diffusers; plan reckons with language models")
    config = read_config(place / "config.json")
    return with_files_beside(config, place), weights_gib(place)


def _nowhere(name: str, home: str) -> str:
    return (
        f"{name}: no such directory, not in the cache {home}, and not a model known by name; "
        "give its config.json with --config-json"
    )
