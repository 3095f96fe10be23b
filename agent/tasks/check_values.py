# SPDX-License-Identifier: Apache-2.0
"""What a service names and cannot be: formats of weights and KV cache, variables, files, GPUs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from agent.config.values import nearest
from agent.core.engine.choices import QUANTIZATIONS
from agent.core.engine.install import EngineInstall
from agent.core.gpu.reading import Gpus
from agent.core.planner.asked.effects import KV_WORDS
from agent.core.settings.service import Settings
from agent.core.unit.named_paths import Use, paths_named
from agent.host.machine.access import exists
from agent.host.probes.format_names import choices_of, variables_of
from agent.places import STATUS_FILE
from agent.tasks.check_command import NEWEST_READ

KNOWN = {"quantization": QUANTIZATIONS, "kv_cache_dtype": frozenset(KV_WORDS)}
"""The names of every release known here, by setting."""

MOST_NAMED = 6


def what_cannot_be(settings: Settings, install: EngineInstall) -> Iterator[tuple[str, bool, str]]:
    """Yield key, whether it is certain, and a sentence for all of these but the GPUs."""
    yield from formats_that_cannot_be(settings, install)
    for sentence in variables_that_are_not_read(settings, install):
        yield "environment", False, sentence
    if not settings.engine.in_container:
        for sentence in files_that_are_not_there(settings):
            yield "extra_args", False, sentence


def files_that_are_not_there(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each file that an option has vLLM read, as an adapter, and that is away.

    One that only root may look at counts as there.
    """
    for named in paths_named(settings):
        with contextlib.suppress(PermissionError):
            if named.of_option and named.use is Use.READ and not exists(named.path):
                yield f"{named.name}: {named.path} does not exist"


def formats_that_cannot_be(
    settings: Settings, install: EngineInstall
) -> Iterator[tuple[str, bool, str]]:
    """Yield key, whether it is certain, and a sentence for each format that vLLM does not have.

    The installed vLLM's own files say what it has. A name of another release may come with a
    plugin, and so may any name where plugins are asked for: that is not certain.
    """
    for key, known in KNOWN.items():
        value: str | None = getattr(settings, key)
        if value is None or value == "auto":
            continue
        own = choices_of(install.read_paths, key)
        if value.lower() in (own or known):
            continue
        of_another = value.lower() in known
        is_read = install.version is not None and not install.engine(flags=None).at_least(
            NEWEST_READ[0], NEWEST_READ[1] + 1
        )
        plugins = "VLLM_PLUGINS" in settings.environment
        certain = not of_another and not plugins and bool(own or is_read)
        yield key, certain, _sentence(value, own or known, install.version, of_another=of_another)


def _sentence(value: str, names: frozenset[str], version: str | None, *, of_another: bool) -> str:
    engine = f"vLLM {version}" if version else "vLLM"
    if of_another:
        return f"{value} is of another release: {engine} takes it with a plugin at most"
    near = nearest(value, sorted(names))
    few = ", ".join(sorted(names)[:MOST_NAMED])
    hint = f"did you mean {near}?" if near else f"there are {few} ..."
    return f"{engine} has no {value}; {hint}"


def variables_that_are_not_read(settings: Settings, install: EngineInstall) -> Iterator[str]:
    """Yield a sentence for each VLLM_ variable that the installed vLLM says it does not know.

    It would warn of it in its log and go on (platforms/interface.py, 0.18..0.33); a plugin may read
    it all the same.
    """
    known = variables_of(install.read_paths)
    asked = [name for name in settings.environment if name.startswith("VLLM_")] if known else []
    for name in sorted(set(asked) - known):
        near = nearest(name, sorted(one.lower() for one in known))
        hint = f"; did you mean {near.upper()}?" if near else ""
        engine = f"vLLM {install.version}" if install.version else "vLLM"
        yield f"{engine} reads no {name}{hint}"


def gpus_that_are_not_there(settings: Settings, gpus: Gpus | None) -> Iterator[str]:
    """Yield a sentence for each index or UUID that names no card of this host.

    A card that is lost counts as there, by what the agent remembers; so does every name where no
    card can be seen at all.
    """
    known = {} if gpus is None or gpus.driver.problem else _known(gpus)
    if not known:
        return
    known |= _remembered(STATUS_FILE)
    for name in settings.gpus:
        if name != "all" and not name.startswith("MIG-") and name not in known:
            indices = sorted(set(known.values()))
            told = ", ".join(map(str, indices))
            yield f"{name} is no GPU of this host; there are {told} (nvidia-smi -L)"


def _known(gpus: Gpus) -> dict[str, int]:
    names = {str(gpu.index): gpu.index for gpu in gpus.gpus}
    names |= {gpu.uuid: gpu.index for gpu in gpus.gpus}
    return names | {str(index): index for index in gpus.nameless}


def _remembered(file: Path) -> dict[str, int]:
    try:
        cards = json.loads(file.read_text()).get("gpus", [])
        return {name: c["index"] for c in cards for name in (str(c["index"]), c["uuid"])}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}
