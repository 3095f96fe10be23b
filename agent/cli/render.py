# SPDX-License-Identifier: Apache-2.0
"""`llmagent render`: the units that the configuration makes, or how they differ from those there.

--format json prints {"units": [{"service", "path", "text", "installed": text or null,
"differs": bool}]}. Exit status 0; with --diff 1 when one differs; 2 for a broken agent.toml.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.cli.screen.options import add_config, add_format
from agent.config.agent_toml import load
from agent.core.record import dataclass
from agent.core.settings.config import Config
from agent.core.settings.service import TUNABLES, Settings
from agent.core.unit.ray import ray_unit_name
from agent.core.unit.ray_unit import render_ray_unit
from agent.core.unit.text import override_note, render_unit
from agent.errors import HostLacksError, UsageError
from agent.host.machine.container_user import container_user
from agent.host.models.hub_cache import needs_no_hub
from agent.host.systemd.unit_inputs import unit_inputs
from agent.host.vllm.help import cache_directory, known_flags
from agent.host.vllm.install import install_of
from agent.places import STATUS_FILE, UNIT_DIRECTORY

if TYPE_CHECKING:
    from argparse import _SubParsersAction


@dataclass(frozen=True, slots=True)
class RenderedUnit:
    """One unit: its text as rendered now, and as installed (None when it is not)."""

    service: str
    path: Path
    text: str
    installed: str | None

    @property
    def differs(self) -> bool:
        """Tell whether what is installed is not what would be written."""
        return self.text != self.installed


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `llmagent`."""
    parser = subparsers.add_parser(
        "render",
        help="print the unit(s) that llmagent would write",
        epilog="Examples: `llmagent render vllm`, `llmagent render --diff`.",
    )
    parser.add_argument("service", metavar="SERVICE", nargs="?", help="its name in agent.toml")
    parser.add_argument("--diff", action="store_true", help="compare with the installed unit")
    add_config(parser)
    add_format(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Render and print; raises ConfigError, UsageError, and HostLacksError without a vLLM."""
    config = load(args.config)
    units = [unit for settings in _chosen(config, args.service) for unit in _rendered(settings)]
    if not units:
        print(f"{args.config}: no service is configured, so there is no unit", file=sys.stderr)
    if args.format == "json":
        print(_json(units))
    elif args.diff:
        print("".join(line for unit in units for line in _diff(unit)), end="")
    else:
        print("\n".join(f"# {unit.path}\n{unit.text}" for unit in units), end="")
    return 1 if args.diff and any(unit.differs for unit in units) else 0


def _chosen(config: Config, service: str | None) -> list[Settings]:
    if service is None:
        return [policy.settings for policy in config.services.values()]
    name = service.removesuffix(".service")
    if name not in config.services:
        names = ", ".join(config.services) or "none"
        raise UsageError(f"no [service.{name}] in the configuration; there are: {names}")
    return [config.services[name].settings]


def _rendered(asked: Settings) -> Iterator[RenderedUnit]:
    install = install_of(asked)
    if install.problems:
        raise HostLacksError("\n".join(install.problems))
    learned = _learned(asked.name)
    user, _ = container_user(asked)
    facts = unit_inputs(install.read_paths, needs_no_hub=needs_no_hub(asked), container_user=user)
    if asked.cluster is not None and asked.cluster.starts_ray:
        path = UNIT_DIRECTORY / ray_unit_name(asked)
        yield RenderedUnit(asked.name, path, render_ray_unit(asked, facts), _read(path))
    text = render_unit(
        asked.with_overrides({name: item["running"] for name, item in learned.items()}),
        install.engine(known_flags(install, cache_directory())),
        facts,
        tuple(
            override_note(name, item["asked"], item["running"], item["why"])
            for name, item in learned.items()
        ),
    )
    path = UNIT_DIRECTORY / asked.unit
    yield RenderedUnit(asked.name, path, text, _read(path))


def _learned(service: str) -> dict[str, dict[str, Any]]:
    """Return what recovery has changed, by setting: {"asked", "running", "why"}.

    Nothing when no daemon has said anything.
    """
    status = _read(STATUS_FILE)
    if status is None:
        return {}
    try:
        known = json.loads(status)["services"].get(service, {})
        if known.get("rolled_back"):
            print(f"{service}: the last known good settings run now, not these", file=sys.stderr)
        overrides = {
            name: {key: item[key] for key in ("asked", "running", "why")}
            for name, item in known.get("overrides", {}).items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HostLacksError(f"{STATUS_FILE} is not a status of llmagent: {error!r}") from error
    return {name: item for name, item in overrides.items() if name in TUNABLES}


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostLacksError(f"{path} cannot be read: {error.strerror}") from error


def _diff(unit: RenderedUnit) -> Iterator[str]:
    return difflib.unified_diff(
        (unit.installed or "").splitlines(keepends=True),
        unit.text.splitlines(keepends=True),
        fromfile="/dev/null" if unit.installed is None else str(unit.path),
        tofile=f"{unit.path} (as it would be)",
    )


def _json(units: list[RenderedUnit]) -> str:
    shown = [
        {
            "service": unit.service,
            "path": str(unit.path),
            "text": unit.text,
            "installed": unit.installed,
            "differs": unit.differs,
        }
        for unit in units
    ]
    return json.dumps({"units": shown}, indent=2)
