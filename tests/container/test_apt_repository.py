# SPDX-License-Identifier: Apache-2.0
"""The signed repository as hosts see it: install from it, and upgrade in the night by itself."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import Boot
from tests.rig import binds, paths, scripted
from tests.rig.container import Container, Suite
from tests.rig.installed import CONFIG, Agent, deb, service_table
from tests.rig.nspawn import Bind
from tests.rig.repacked import first_release, packed, unpacked

BUILD: Final = paths.REPO / "packaging/build-apt-repo"
PAGE: Final = paths.REPO / "packaging/man/llmagent-upgrade.7"
URL: Final = "http://127.0.0.1:8099"
NEXT: Final = "9.0.0"


class Repository:
    """A repository on this machine, with a key that lives as long as the test."""

    def __init__(self, here: Path) -> None:
        self._files = here / "apt"
        self._home = here / "gnupg"
        self._home.mkdir(mode=0o700)
        self.key = self.make_key("archive")

    def _run(self, *argv: str | Path) -> str:
        environment = {**os.environ, "GNUPGHOME": str(self._home)}
        argv = tuple(str(word) for word in argv)
        return subprocess.run(
            argv, check=True, capture_output=True, text=True, env=environment
        ).stdout

    def make_key(self, name: str) -> str:
        """Returns the fingerprint of a new key."""
        quiet = ["--batch", "--quiet", "--passphrase", ""]
        self._run("gpg", *quiet, "--quick-generate-key", name, "ed25519", "sign", "never")
        listed = self._run("gpg", "--batch", "--with-colons", "--list-secret-keys", name)
        fingerprint = re.search(r"(?m)^fpr:+([0-9A-F]+):", listed)
        assert fingerprint is not None
        return fingerprint[1]

    def publish(self, package: Path, key: str, url: str = URL) -> Path:
        """Adds a package; returns the repository's directory."""
        self._run(BUILD, "--key", key, "--url", url, "--output", self._files, package)
        return self._files

    def close(self) -> None:
        """Ends gpg's agent, which would outlive the test."""
        self._run("gpgconf", "--kill", "all")


WRITE_AS_A_NEWER_VERSION = """\
import sqlite3, subprocess
subprocess.run(["systemctl", "stop", "llmagent"], check=True)
store = sqlite3.connect("/var/lib/llmagent/llmagent.db")
version = store.execute("PRAGMA user_version").fetchone()[0]
store.executescript(
    "CREATE TABLE of_a_newer_version (key TEXT); ALTER TABLE event ADD COLUMN newer TEXT;"
    "UPDATE state SET value = json_set(value, '$.newer', json('[1, {}]')) WHERE value LIKE '{%';"
    f"INSERT INTO state (key, value) VALUES ('newer:key', '[]'); PRAGMA user_version={version + 1};"
)
"""
"""A table, a column, a row and a field that this version does not know."""


def upgrades(suite: Suite) -> Bind:
    """Returns the distribution's unattended-upgrades with what it needs."""
    part: paths.Part = "upgrades-bookworm" if suite == "bookworm" else "upgrades-trixie"
    return Bind(paths.part(part), "/srv/upgrades")


def the_pattern() -> str:
    """Returns the line that the manual has operators write for unattended-upgrades."""
    line = re.search(r"(?m)^Unattended-Upgrade::Origins-Pattern .*;$", PAGE.read_text())
    assert line is not None
    return line[0] + "\n"


@pytest.mark.story("B2")
@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_a_host_installs_from_the_signed_repository_and_upgrades_by_itself_beside_vllm(
    boot: Boot, suite: Suite, tmp_path: Path
) -> None:
    box = boot(suite, binds=[binds.scripted_engine(), upgrades(suite)])
    repository = Repository(tmp_path)
    try:
        _install_and_upgrade(box, repository, tmp_path)
    finally:
        repository.close()


def _install_and_upgrade(box: Container, repository: Repository, here: Path) -> None:
    older = first_release(deb(), here / "first" / "llmagent")
    box.put(repository.publish(older, repository.key), "/srv/apt")
    serve = ["python3", "-m", "http.server", "--bind=127.0.0.1", "--directory=/srv/apt", "8099"]
    box.run(["systemd-run", "--quiet", "--unit=web", *serve])
    # This machine reaches no other archive; the packages of unattended-upgrades are on its disk.
    box.run(["sh", "-c", "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*"])
    box.run(["sh", "-c", "apt-get install -y /srv/upgrades/*.deb"], timeout=180)
    box.wait_for(lambda: box.http_get(8099, "/llmagent.sources").status == 200, 10, "the web")
    sources = "/etc/apt/sources.list.d/llmagent.sources"
    box.run(["curl", "-sfo", sources, f"{URL}/llmagent.sources"])
    listed = box.run(["apt-get", "update"])
    words = listed.stdout + listed.stderr
    assert not re.search(r"(?m)^(W|E|N):", words), words
    box.run(["apt-get", "install", "-y", "llmagent"], timeout=180)
    agent = Agent(box)
    agent.give_a_model()
    agent.configure(service_table())
    agent.wait("serving")
    edited = box.read(CONFIG)
    vllm, daemon = agent.pid("vllm.service"), agent.pid("llmagent.service")

    newer = packed(unpacked(deb(), here / "llmagent"), NEXT)
    box.put(repository.publish(newer, repository.key), "/srv/apt")
    box.write("/etc/apt/apt.conf.d/52llmagent", the_pattern())
    box.run(["apt-get", "update"])
    said = box.run(["unattended-upgrade", "--verbose"], timeout=240)

    version = ["dpkg-query", "--show", "--showformat=${Version} ${db:Status-Abbrev}", "llmagent"]
    assert box.run(version).stdout.split() == [NEXT, "ii"], said.stdout + said.stderr
    # The first release had the file as a conffile: a question at each change of its comments.
    assert box.read(CONFIG) == edited
    unit = "/usr/lib/systemd/system/llmagent.service"
    assert box.run(["dpkg-query", "--search", unit]).stdout == f"llmagent: {unit}\n"
    assert agent.pid("llmagent.service") not in (0, daemon)
    agent.wait("serving")
    assert agent.pid("vllm.service") == vllm
    assert len(scripted.starts(box)) == 1
    # The way back, which the repository keeps, with a store that a newer version has written.
    box.run(["/usr/bin/python3", "-c", WRITE_AS_A_NEWER_VERSION])
    was = "0.1.0~first"
    box.run(["apt-get", "install", "-y", "--allow-downgrades", f"llmagent={was}"], timeout=120)
    assert box.run(version).stdout.split() == [was, "ii"]
    agent.wait("serving")
    assert agent.pid("vllm.service") == vllm
    assert len(scripted.starts(box)) == 1
    said = box.run(["journalctl", "--unit=llmagent", "--output=cat", "--no-pager"])
    assert "was written by a newer llmagent (schema 2, this one knows 1)" in said.stdout

    stranger = repository.make_key("stranger")
    published = repository.publish(newer, stranger)
    (published / "llmagent.sources").unlink()
    box.put(published, "/srv/apt")
    refused = box.run(["apt-get", "update", "--error-on=any"], check=False)
    assert refused.returncode != 0
    assert re.search(r"NO_PUBKEY|Missing key|not.* verified", refused.stdout + refused.stderr)
