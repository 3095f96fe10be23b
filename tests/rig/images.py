# SPDX-License-Identifier: Apache-2.0
"""Images for the machines that run containers of their own: made from the machine's own tree."""

from __future__ import annotations


def import_script(into: str, *more: str) -> str:
    """Returns a script that pipes Python, the scripted engine and `more` paths to a command.

    `into` is "podman import ..." or "docker import ...", which reads a tar from its input.
    """
    return f"""
set -eo pipefail
mkdir -p /tmp/tree/proc /tmp/tree/sys /tmp/tree/dev /tmp/tree/run /tmp/tree/tmp
cd /
lib=usr/lib/$(uname -m)-linux-gnu
python=$(basename "$(readlink -f /usr/bin/python3)")
tar --create bin sbin lib $(ls -d lib64 usr/lib64 2>/dev/null) \\
    etc/passwd etc/group etc/nsswitch.conf \\
    usr/bin/python3 usr/bin/$python usr/bin/bash usr/bin/env usr/lib/$python \\
    $lib/ld* $(ls -d $lib/lib*.so.* | grep -v 'LLVM\\|icu\\|san\\|stdc') \\
    opt/scripted-engine {" ".join(more)} -C /tmp/tree proc sys dev run tmp |
    {into}
"""


def install_script(part: str) -> str:
    """Returns a script that installs the .deb files of a part's directory."""
    return f"""
dpkg -i {part}/*.deb >/tmp/dpkg.log 2>&1 || {{ tail /tmp/dpkg.log >&2; exit 1; }}
"""
