# SPDX-License-Identifier: Apache-2.0
"""Whether a service's places are open to the user that its engine in a container would be."""

import os
import pwd
from dataclasses import replace
from pathlib import Path

import pytest

from agent.core.settings.engine import EngineSettings, GpuAccess, Runtime
from agent.core.settings.service import Settings
from agent.host.machine.container_user import MOST_ENTRIES, container_user

NOBODY = pwd.getpwnam("nobody")
ENGINE = EngineSettings(Runtime.PODMAN, "vllm/vllm-openai:v0.32.0", gpu_access=GpuAccess.NONE)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")


def service(**changes: object) -> Settings:
    made = Settings("vllm", "org/name", engine=ENGINE, user="nobody")
    return replace(made, **changes)  # type: ignore[arg-type]


def tree(at: Path, mode: int) -> Path:
    (at / "hub/blobs").mkdir(parents=True)
    file = at / "hub/blobs/weights"
    file.write_text("")
    for path in (at, at / "hub", at / "hub/blobs"):
        path.chmod(0o755)
    file.chmod(mode)
    return at


def test_a_service_of_the_units_own_directories_gets_the_user() -> None:
    user, why = container_user(service())
    assert why == ""
    assert user is not None
    assert (user.name, user.uid, user.gid) == ("nobody", NOBODY.pw_uid, NOBODY.pw_gid)


def test_a_model_that_all_may_read_is_open(tmp_path: Path) -> None:
    user, why = container_user(service(model=str(tree(tmp_path / "m", 0o644))))
    assert (user is not None, why) == (True, "")


def test_one_file_that_is_closed_leaves_root_and_is_named(tmp_path: Path) -> None:
    model = tree(tmp_path / "m", 0o600)
    user, why = container_user(service(model=str(model)))
    assert user is None
    closed = f"{model}/hub/blobs/weights is closed to the user nobody"
    assert why == f"{closed}: `chmod -R a+rX {model}`"


def test_a_cache_that_the_user_cannot_write_to_leaves_root(tmp_path: Path) -> None:
    home = tree(tmp_path / "hf", 0o644)
    user, why = container_user(service(environment={"HF_HOME": str(home)}))
    assert user is None
    assert why == f"{home} is closed to the user nobody: `chown -R nobody: {home}`"
    # The same place, named for reading alone, is open.
    engine = replace(ENGINE, mounts=(str(home),))
    assert container_user(service(engine=engine))[1] == ""


@needs_root
def test_a_cache_of_the_users_own_is_open_until_one_directory_in_it_is_roots(
    tmp_path: Path,
) -> None:
    home = tree(tmp_path / "hf", 0o600)
    for path in (home, *home.rglob("*")):
        os.chown(path, NOBODY.pw_uid, NOBODY.pw_gid)
    settings = service(environment={"HF_HOME": str(home)})
    assert container_user(settings)[1] == ""
    os.chown(home / "hub/blobs", 0, 0)
    assert f"{home}/hub/blobs is closed to the user nobody" in container_user(settings)[1]


def test_links_are_not_followed_and_what_is_not_there_closes_nothing(tmp_path: Path) -> None:
    model = tree(tmp_path / "m", 0o644)
    (tmp_path / "closed").mkdir(mode=0o700)
    (model / "link").symlink_to(tmp_path / "closed")
    (model / "broken").symlink_to(tmp_path / "gone")
    os.mkfifo(model / "fifo", 0o644)
    (model / "fifo").chmod(0o644)
    assert container_user(service(model=str(model)))[1] == ""
    assert container_user(service(model=str(tmp_path / "gone")))[1] == ""


def test_a_bounded_number_of_files_is_looked_at(tmp_path: Path) -> None:
    place = tmp_path / "m"
    place.mkdir(mode=0o755)
    place.chmod(0o755)
    for number in range(MOST_ENTRIES + 50):
        (place / f"{number:05d}").touch(mode=0o644)
    deep = place / "zz" / "deep"
    deep.mkdir(parents=True)
    (place / "zz").chmod(0o755)
    deep.chmod(0o700)
    user, _ = container_user(service(model=str(place)))
    assert user is not None


def test_a_user_that_is_not_there_is_named() -> None:
    user, why = container_user(service(user="no-such-user"))
    assert (user, why) == (None, "there is no user no-such-user")


def test_outside_of_strict_nobody_is_looked_for() -> None:
    assert container_user(Settings("vllm", "/m", user="no-such-user")) == (None, "")
