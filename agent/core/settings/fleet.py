# SPDX-License-Identifier: Apache-2.0
"""[fleet] of agent.toml: other hosts, which the status page shows beside this one."""

from __future__ import annotations

from agent.core.record import dataclass


@dataclass(frozen=True, slots=True)
class Fleet:
    """Other hosts that the status page shows beside this one, as they are named in the file.

    `user` with the password in `password_file` is for a web_config_file there, `ca_file` holds
    certificates to trust besides the system's; "" for none.
    """

    hosts: tuple[str, ...] = ()
    user: str = ""
    password_file: str = ""
    ca_file: str = ""
