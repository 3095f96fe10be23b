# SPDX-License-Identifier: Apache-2.0
"""[fleet]: the other hosts of the page."""

from __future__ import annotations

import pytest

from agent.config.agent_toml import parse
from agent.core.settings.changes import changes, restarted
from agent.core.settings.fleet import Fleet
from agent.errors import ConfigError

GOOD = """
[fleet]
hosts = ["gpu-02", "https://gpu-03:9836"]
user = "fleet"
password_file = "/etc/llmagent/fleet.password"
"""


def test_the_table_is_read_and_nobody_is_named_without_it() -> None:
    named = ("gpu-02", "https://gpu-03:9836")
    assert parse(GOOD, "x").fleet == Fleet(named, "fleet", "/etc/llmagent/fleet.password")
    assert parse("", "x").fleet == Fleet()


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('hosts = "gpu-02"', "line 2: fleet.hosts: 'gpu-02' is not a list of hosts"),
        ('hosts = ["ftp://gpu-02"]', "write HOST, HOST:PORT or https://HOST:PORT"),
        ('hosts = ["https://eve:secret@gpu-02"]', "is seen by others"),
        ('hosts = ["gpu-02", "http://gpu-02:9836"]', "stands twice"),
        (f"hosts = {[f'gpu-{n}' for n in range(101)]}", "101 hosts are more than one page shows"),
        ("hosts = [7]", "7 is not a string"),
        ('user = "fleet"', "fleet.user: needs password_file beside it"),
        ('password_file = "/x"', "fleet.password_file: needs user beside it"),
        ('user = "a:b"\npassword_file = "/x"', "holds a colon"),
        ('password_file = "x"\nuser = "u"', "is not an absolute path"),
        ('host = ["gpu-02"]', "did you mean hosts?"),
    ],
)
def test_each_mistake_is_told_with_its_line(lines: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(f"[fleet]\n{lines}\n", "x")
    assert says in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_change_is_told_and_asks_for_a_restart_of_the_agent_alone() -> None:
    old, new = parse("", "x"), parse(GOOD, "x")
    assert changes(old, new)[0] == (
        "fleet.hosts: [] -> [gpu-02, https://gpu-03:9836] (when llmagent restarts)"
    )
    assert restarted(old, new) == ("llmagent.service",)
