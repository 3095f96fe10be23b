# SPDX-License-Identifier: Apache-2.0
"""`llmagent import --take-over`: the moment is announced, and the way back is printed first."""

from __future__ import annotations

import os
import re
import sys
import time
from datetime import datetime, timedelta

from agent.cli.screen.consent import agreed
from agent.cli.screen.terminal import duration
from agent.core.foreign.table import Imported
from agent.core.plain import plain
from agent.errors import DaemonAwayError, HostLacksError, UsageError
from agent.host.systemd.commands import answer
from agent.tasks.foreign.addition import Addition
from agent.tasks.foreign.old_engine import old_engine
from agent.tasks.foreign.source import Source
from agent.tasks.foreign.take_over import TakeOver, take_over

NOTICE_SECONDS = 10
DEADLINE_SECONDS = 3600.0
_TIME = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")


def replace_engine(
    source: Source, taken: list[Imported], added: Addition, *, at: str | None, yes: bool
) -> bool:
    """Ask, announce, wait for the moment and take over; returns whether that was agreed to.

    Raises UsageError for what cannot be replaced, NotComeUpError where everything is as before.
    """
    if len(taken) > 1:
        raise UsageError(f"--take-over is for one engine; there are {len(taken)}")
    moment = None if at is None else _moment(at, datetime.now().astimezone())
    if os.geteuid() != 0:
        raise HostLacksError("only root may stop a unit and write agent.toml; type it with sudo")
    plan = TakeOver(old_engine(source, taken[0].name), added, taken[0].name, DEADLINE_SECONDS)
    if answer("is-active", "llmagent.service") != "active":
        raise DaemonAwayError("llmagent.service does not run: `systemctl start llmagent`")
    unit = f"{plan.service}.service"
    when = f"{NOTICE_SECONDS} seconds from your yes" if moment is None else f"{moment:%H:%M}"
    _tell(f"{when}: {plan.old.name} is stopped and disabled, {unit} starts in its place")
    _tell("From then on nobody is served until the model is loaded anew. If it does not come up,")
    _tell(f"{plan.old.name} comes back by itself. By hand, the way back is:")
    for command in plan.way_back():
        _tell(f"    {command}")
    if not yes and not agreed("Do it?"):
        _tell("nothing was changed")
        return False
    _wait(moment or datetime.now().astimezone() + timedelta(seconds=NOTICE_SECONDS))
    _tell(take_over(plan, _tell))
    return True


def _moment(at: str, now: datetime) -> datetime:
    found = _TIME.fullmatch(at)
    if found is None:
        raise UsageError(f'--at {at} is not a time of the day, as "03:00"')
    moment = now.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
    return moment if moment > now else moment + timedelta(days=1)


def _wait(moment: datetime) -> None:
    seconds = (moment - datetime.now().astimezone()).total_seconds()
    if seconds > 0:
        _tell(f"in {duration(seconds + 0.5)}; Ctrl-C until then changes nothing")
        time.sleep(seconds)


def _tell(line: str) -> None:
    print(plain(line), file=sys.stderr, flush=True)
