# SPDX-License-Identifier: Apache-2.0
"""A package taken apart, changed and put together again: other versions without another build."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path


def unpacked(deb: Path, tree: Path) -> Path:
    """Takes a package apart into a directory that is not there yet; returns the directory."""
    tree.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["dpkg-deb", "--raw-extract", deb, tree], check=True)
    return tree


def packed(tree: Path, version: str) -> Path:
    """Puts the directory together as this version; returns the package, beside the directory."""
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: .*", f"Version: {version}", control.read_text()))
    built = tree.with_name(f"llmagent_{version}_all.deb")
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, built], check=True)
    return built


def first_release(deb: Path, tree: Path) -> Path:
    """Returns the package in the shape of 0.1.0: agent.toml a conffile, the unit below /lib."""
    unpacked(deb, tree)
    (tree / "usr/share/llmagent/agent.toml").rename(tree / "etc/llmagent/agent.toml")
    with (tree / "DEBIAN/conffiles").open("a") as conffiles:
        conffiles.write("/etc/llmagent/agent.toml\n")
    (tree / "lib").mkdir()
    (tree / "usr/lib/systemd").rename(tree / "lib/systemd")
    postinst = tree / "DEBIAN/postinst"
    postinst.write_text(postinst.read_text().replace("cp /usr/share/llmagent/agent.toml", "false"))
    return packed(tree, "0.1.0~first")
