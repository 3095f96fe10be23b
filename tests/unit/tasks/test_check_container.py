# SPDX-License-Identifier: Apache-2.0
"""What `llmagent check` says of user ids that a container asks for."""

from pathlib import Path

import pytest

from agent.core.settings.engine import EngineSettings, Runtime
from agent.core.settings.service import Settings
from agent.tasks.check_container import RANGE, missing_ranges

IMAGE = "vllm/vllm-openai:v0.32.0"


def service(*options: str, runtime: Runtime = Runtime.PODMAN) -> Settings:
    engine = EngineSettings(runtime, IMAGE, extra_options=options)
    return Settings("vllm", "/srv/m", engine=engine)


@pytest.fixture
def debian(tmp_path: Path) -> Path:
    """Return a root as Debian's: ranges for people, none for podman's own."""
    (tmp_path / "etc").mkdir()
    for name in ("subuid", "subgid"):
        (tmp_path / "etc" / name).write_text("me:100000:65536\n")
    return tmp_path


@pytest.mark.parametrize("option", ["--userns=auto", "--userns=auto:size=65536"])
def test_a_range_that_podman_would_look_for_in_vain_is_named_with_its_line(
    debian: Path, option: str
) -> None:
    told = list(missing_ranges(service(option), debian))
    assert [
        f"/etc/{name}" in sentence
        for name, sentence in zip(("subuid", "subgid"), told, strict=True)
    ] == [True, True]
    assert all(f"containers:{RANGE}" in sentence for sentence in told)
    # The line that is named is the one that helps.
    for name in ("subuid", "subgid"):
        with (debian / "etc" / name).open("a") as file:
            file.write(f"containers:{RANGE}\n")
    assert list(missing_ranges(service(option), debian)) == []


def test_no_file_is_no_range(tmp_path: Path) -> None:
    assert len(list(missing_ranges(service("--userns=auto"), tmp_path))) == 2


@pytest.mark.parametrize(
    "settings",
    [
        service(),
        service("--userns=host"),
        service("--user=1000"),
        service("--userns=auto", runtime=Runtime.DOCKER),
        Settings("vllm", "/srv/m"),
    ],
)
def test_who_asks_for_no_range_is_told_nothing(debian: Path, settings: Settings) -> None:
    assert list(missing_ranges(settings, debian)) == []
