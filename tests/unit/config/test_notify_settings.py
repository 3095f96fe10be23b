# SPDX-License-Identifier: Apache-2.0
"""[notify] of agent.toml: what is read, and which mistakes are found."""

from __future__ import annotations

import pytest

from agent.config.agent_toml import parse
from agent.core.settings.changes import changes
from agent.core.settings.notify import Notify, Severity
from agent.core.settings.recovery import Window
from agent.errors import ConfigError

WHOLE = """
[notify]
urls_file = "/etc/llmagent/notify.urls"
least = "critical"
quiet = "22:00-07:00"
digest = "08:30"
after_seconds = 600
dead_mans_switch_file = "/etc/llmagent/ping"
dead_mans_switch_seconds = 120
"""


def test_every_key_is_read() -> None:
    assert parse(WHOLE, "agent.toml").notify == Notify(
        "/etc/llmagent/notify.urls",
        Severity.CRITICAL,
        Window(22 * 3600, 7 * 3600),
        8 * 3600 + 1800,
        600.0,
        "/etc/llmagent/ping",
        120.0,
    )


def test_without_the_table_nobody_is_told() -> None:
    assert parse("", "agent.toml").notify == Notify()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('urls_file = "ntfy://ntfy.sh/topic"', "must be the path of a file (mode 0600)"),
        ('urls_file = "notify.urls"', "is not an absolute path"),
        ('least = "loud"', "is not one of info, warning, critical"),
        ('quiet = "22:00"', 'is not "HH:MM-HH:MM"'),
        ('digest = "8 o\'clock"', 'is not "HH:MM"'),
        ("dead_mans_switch_seconds = 1", "must be from 60 to 86400"),
        ('dead_mans_switch_file = "https://hc-ping.com/x"', "must be the path of a file"),
        ('url_file = "/x"', "did you mean urls_file?"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_to_write(line: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"[notify]\n{line}\n", "agent.toml")
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(f"line 2: notify.{line.split(' ')[0]}: ")
    assert says in mistake


def test_a_change_is_told_at_the_reload() -> None:
    old, new = parse("", "agent.toml"), parse(WHOLE, "agent.toml")
    assert "notify.urls_file:  -> /etc/llmagent/notify.urls" in changes(old, new)
