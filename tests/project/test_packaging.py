# SPDX-License-Identifier: Apache-2.0
"""The package's files agree with each other, with the code and with what pyproject.toml says."""

from __future__ import annotations

import argparse
import re
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from typing import Any, Final

import pytest

from agent.config.agent_toml import METRICS, parse
from agent.config.engine_table import ENGINE
from agent.config.fleet import KEYS as FLEET
from agent.config.gpus import LIMITS, POWER, THERMAL
from agent.config.notify import KEYS as NOTIFY
from agent.config.service import EXPECT, RECOVERY, SETTINGS
from agent.config.values import Keys
from agent.core.settings.config import Metrics
from agent.core.settings.engine import EngineSettings, Runtime
from agent.core.settings.fleet import Fleet
from agent.core.settings.gpus import CardLimits, Power, Thermal
from agent.core.settings.notify import Notify
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import Expectations, Settings
from agent.version import VERSION
from tests.rig.paths import REPO

SHIPPED: Final = REPO / "etc/agent.toml"
DEBIAN: Final = REPO / "packaging/debian"
MAN: Final = REPO / "packaging/man"

DEBIAN_NAMES: Final = {
    "systemd-python": "python3-systemd",
    "pyyaml": "python3-yaml",
}
"""Debian's packages of modules where the name is not python3-NAME."""

CARRIED: Final = frozenset({"nvidia-ml-py"})
"""What Debian does not have and the package holds itself; packaging/fetch-pynvml gets it."""

EXPOSURE: Final = 23
"""Ten times the score of `systemd-analyze security` that llmagent.service has reached.

22 with a device policy, which would cut NVML off from a driver that is loaded later.
"""

READS_AHEAD: Final = 17
"""The same of llmagent-ahead.service."""

TABLES: Final[Mapping[str, tuple[Keys, Any]]] = {
    "[service.NAME]": (SETTINGS, Settings(name="", model="")),
    "[service.NAME.engine]": (ENGINE, EngineSettings()),
    "[service.NAME.expect]": (EXPECT, Expectations()),
    "[service.NAME.recovery]": (RECOVERY, Recovery()),
    "[power]": (POWER, Power()),
    "[power.gpu.PATTERN]": (LIMITS, CardLimits()),
    "[thermal]": (THERMAL, Thermal()),
    "[metrics]": (METRICS, Metrics()),
    "[notify]": (NOTIFY, Notify()),
    "[fleet]": (FLEET, Fleet()),
}
"""By title of the manual's section: the keys that are read, and the defaults that follow."""


def test_there_is_one_version() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["version"]
    packaged = re.match(r"llmagent \(([^)]+)\)", (DEBIAN / "changelog").read_text())
    told = re.search(r"^## \[([^]]+)\] - ", (REPO / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert packaged is not None
    assert told is not None
    assert {project, packaged[1], told[1]} == {VERSION}


def test_the_package_depends_on_what_the_project_depends_on() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    control = (DEBIAN / "control").read_text()
    depends = control.partition("\nDepends: ")[2].partition("\nSuggests")[0]
    packaged = dict(re.findall(r"(python3\S*?)(?: \(>= ([^)]+)\))?,\s", depends))
    assert packaged.pop("python3") == project["requires-python"].removeprefix(">=")
    wanted = dict(dependency.lower().split(">=") for dependency in project["dependencies"])
    names = {
        DEBIAN_NAMES.get(name, f"python3-{name}"): floor
        for name, floor in wanted.items()
        if name not in CARRIED
    }
    assert packaged.keys() == names.keys()
    floors = {name: floor for name, floor in packaged.items() if floor}
    assert floors.items() <= names.items()


def test_the_shipped_configuration_is_valid_and_starts_nothing() -> None:
    assert parse(SHIPPED.read_text(), str(SHIPPED)).services == {}


def test_every_example_of_the_shipped_configuration_is_valid_without_its_comment_sign() -> None:
    uncommented = re.sub(r"(?m)^# (?=\[|[a-z_]+ = )", "", SHIPPED.read_text())
    config = parse(uncommented, str(SHIPPED))
    assert list(config.services) == ["vllm"]
    assert config.metrics.web_config_file


def test_the_example_of_a_container_is_valid_by_itself() -> None:
    lines = re.findall(r"(?m)^#   (\[.*|[a-z_]+ = .*)", SHIPPED.read_text())
    text = "\n".join(['[service.vllm]\nmodel = "org/name"', *lines])
    assert parse(text, str(SHIPPED)).services["vllm"].settings.engine.runtime is Runtime.PODMAN


def test_what_the_shipped_configuration_calls_a_default_is_one() -> None:
    uncommented = re.sub(r"(?m)^# (?=\[|[a-z_]+ = )", "", SHIPPED.read_text())
    raw = tomllib.loads(uncommented)
    for key, value in raw["service"]["vllm"]["recovery"].items():
        default = getattr(Recovery(), key)
        assert default is None or value == default, key
    assert raw["metrics"]["listen"] == Metrics().listen


def test_every_example_of_the_manual_is_valid() -> None:
    page = (MAN / "agent.toml.5").read_text()
    examples = re.findall(r"(?s)\.Bd -literal -offset indent\n(.*?)\.Ed", page)
    assert examples
    for example in examples:
        parse(example, "agent.toml(5)")


@pytest.mark.parametrize("title", TABLES)
def test_the_manual_has_each_key_with_its_default(title: str) -> None:
    keys, defaults = TABLES[title]
    documented = dict(_keys_of_manual(title))
    assert documented.keys() == keys.keys()
    for key, default in documented.items():
        assert default == _default(key, defaults), f"{title} {key}"


def _keys_of_manual(title: str) -> Iterator[tuple[str, Any]]:
    """Yields each key of a section with its default, None where it has none."""
    page = (MAN / "agent.toml.5").read_text().replace(r"\(dq", '"')
    section = page.partition(f"\n.Ss {title}\n")[2]
    section = re.split(r"(?m)^\.S[sh] ", section)[0]
    for key, rest in re.findall(r"(?m)^\.It Ic (\w+) No = (.*)$", section):
        default = re.search(r"Pq default: Li (.*)$", rest)
        yield key, tomllib.loads(f"x = {default[1]}")["x"] if default else None


def _default(key: str, defaults: Any) -> Any:
    if key in ("model", "listen"):
        return defaults.listen if key == "listen" else None
    value = getattr(defaults, key)
    if key == "gpus":
        return value[0]
    match value:
        case tuple():
            return list(value)
        case Mapping():
            return dict(value)
        case _:
            return value


def test_every_key_that_is_read_is_a_setting() -> None:
    for keys, defaults in TABLES.values():
        known = {field.name for field in fields(defaults)} | {"listen"}
        assert keys.keys() <= known


@cache
def _commands() -> Mapping[str, argparse.ArgumentParser]:
    from agent.cli.main import COMMANDS, modules_of

    parsers = argparse.ArgumentParser().add_subparsers()
    for command in modules_of(COMMANDS):
        command.add_parser(parsers)
    return dict(parsers.choices)


def test_the_manual_has_each_command_with_its_options() -> None:
    page = (MAN / "llmagent.1").read_text()
    synopsis = page.partition(".Sh SYNOPSIS")[2].partition(".Sh ")[0]
    parts = re.findall(r"(?s)\.Nm\n\.Cm (\w+)(.*?)(?=\.Nm|$)", synopsis)
    documented = {name: set(re.findall(r"Fl -([a-z-]+)", part)) for name, part in parts}
    assert documented == {name: _options(parser) for name, parser in _commands().items()}
    explained = page.partition(".Sh OPTIONS")[2].partition(".Sh ")[0]
    for options in documented.values():
        for option in options:
            assert f".It Fl -{option}" in explained


def _options(parser: argparse.ArgumentParser) -> set[str]:
    return {
        option.removeprefix("--")
        for action in parser._actions
        if action.help is not argparse.SUPPRESS
        for option in action.option_strings
        if option.startswith("--") and option != "--help"
    }


@pytest.mark.parametrize(
    ("name", "exposure"), [("llmagent", EXPOSURE), ("llmagent-ahead", READS_AHEAD)]
)
def test_the_agents_units_are_no_more_exposed_than_they_were(name: str, exposure: int) -> None:
    unit = REPO / f"units/{name}.service"
    argv = ["systemd-analyze", "security", "--offline=true", f"--threshold={exposure}", str(unit)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
