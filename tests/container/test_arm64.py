# SPDX-License-Identifier: Apache-2.0
"""The package on Debian for arm64, as on a DGX Spark: what it prints there is what it prints here.

The processor is emulated, program by program: what the agent does with a running systemd is the
same Python on every processor, and shown on booted machines.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import run
from typing import Any

import pytest

from tests.given.published.deployments import ADA_LINE, GB10_COMPOSE, TOKEN
from tests.rig import paths
from tests.rig.emulated.root import ForeignRoot, emulates_arm64
from tests.rig.installed import deb

HOSTS = {
    "vllm-llama31-8b-fp8": ("GB10", ("/srv/app/compose.yml",)),
    "llama": ("RTX 4000 Ada", ("--", *ADA_LINE)),
}
"""The service that each deployment becomes, on a host of its own: its card, what is imported."""


@pytest.fixture(scope="module")
def spark() -> Iterator[ForeignRoot]:
    if not emulates_arm64():
        pytest.skip("this kernel takes no emulator for arm64: binfmt_misc cannot be mounted")
    with ForeignRoot() as root:
        root.put(deb(), "/tmp/llmagent.deb")
        root.run(["apt-get", "install", "-y", "/tmp/llmagent.deb"], timeout=300)
        root.write("/srv/app/compose.yml", GB10_COMPOSE)
        root.write("/srv/app/.env", f"HF_TOKEN={TOKEN}\n")
        yield root


def ask(root: ForeignRoot, *words: str) -> Any:
    return json.loads(root.run(["llmagent", *words, "--format", "json"], check=False).stdout)


def ask_here(*words: str) -> Any:
    code = "import sys; from agent.cli.main import main; sys.exit(main())"
    argv = [sys.executable, "-c", code, *words, "--format", "json"]
    return json.loads(run(argv, check=False, capture_output=True, cwd=paths.REPO).stdout)


def test_published_deployments_are_brought_over_checked_rendered_and_planned(
    spark: ForeignRoot, tmp_path: Path
) -> None:
    assert spark.run(["dpkg", "--print-architecture"]).stdout == "arm64\n"
    for name, (card, what) in HOSTS.items():
        config = f"/etc/llmagent/{name}.toml"
        spark.write(config, "")
        bring = ["llmagent", "import", "--write", "--yes", "--config", config, *what]
        said = spark.run(bring, check=False)
        assert said.returncode == 0, said.stderr
        checked = spark.run(["llmagent", "check", "--no-engine", config], check=False)
        assert checked.returncode == 0, checked.stderr
        text = spark.run(["cat", config]).stdout
        assert TOKEN not in text
        unit = spark.run(["llmagent", "render", name, "--config", config]).stdout
        assert f"--name={name}" in unit
        assert TOKEN not in unit
        # The same file on this processor plans the same.
        here = tmp_path / "agent.toml"
        here.write_text(text)
        planned = ask(spark, "plan", name, "--gpu", card, "--config", config)
        assert planned["verdict"] == "fits", planned
        assert planned == ask_here("plan", name, "--gpu", card, "--config", str(here))
    said = ask(spark, "doctor", "--config", "/etc/llmagent/llama.toml")
    results = {found["check"]: found["result"] for found in said["findings"]}
    assert results["container-runtime"] == "fail", "no daemon of docker's runs there"
