# SPDX-License-Identifier: Apache-2.0
"""`llmagent events`: what happened, what was decided, and why.

A failure, its cause, its cure and the time without service are one entry; --all (and --follow)
prints each row of the history. --format json prints one object a line: {"id", "at_seconds",
"service", "kind", "message", "data"}.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from agent.cli.screen.options import add_format
from agent.cli.screen.story import clock, story, summary
from agent.cli.screen.terminal import local
from agent.core.plain import plain
from agent.errors import UsageError
from agent.host.store.store import Event, Store, StoredEvent
from agent.places import STORE_FILE

FOLLOW_SECONDS = 0.5
UNITS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "events",
        help="the history: what happened, and why",
        epilog="Examples: `llmagent events --since yesterday`, `llmagent events vllm --follow`.",
    )
    parser.add_argument("service", nargs="?", metavar="SERVICE", help="only this service's")
    parser.add_argument(
        "--since", metavar="TIME", help='"2h", "30min", "22:00", "yesterday" or "2026-11-20 03:12"'
    )
    parser.add_argument("--limit", type=_positive, metavar="N", help="only the newest N")
    parser.add_argument("--all", action="store_true", help="each row, as it was recorded")
    parser.add_argument("--follow", action="store_true", help="go on with what comes")
    add_format(parser)
    parser.add_argument("--state", type=Path, default=STORE_FILE, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the history, oldest first."""
    since = None if args.since is None else parse_since(args.since, time.time())
    with Store.read_only(args.state) as store:
        if args.format == "human" and not args.all and not args.follow:
            rows = (stored.event for stored in store.events(since, args.service, None))
            print("\n".join(told(rows, args.limit)))
            return 0
        last = 0
        for stored in store.events(since, args.service, args.limit):
            last = stored.id
            print(line_of(stored, args.format))
        while args.follow:
            sys.stdout.flush()
            time.sleep(FOLLOW_SECONDS)
            for stored in store.events_after(last, args.service):
                last = stored.id
                print(line_of(stored, args.format))
    return 0


def told(events: Iterable[Event], limit: int | None) -> Iterator[str]:
    """Yield the story of the events: a heading a day, an entry an incident, a summary at last."""
    entries = list(story(events))
    if limit is not None:
        entries = entries[-limit:]
    if not entries:
        yield "nothing happened"
        return
    day = ""
    for entry in entries:
        if (this := local(entry.at_seconds, "%A %Y-%m-%d (%Z)")) != day:
            day = this
            yield day
        first, *more = entry.lines
        yield plain(f"{clock(entry.at_seconds)}  {entry.service or 'llmagent'}: {first}")
        yield from (f"{'':10}{plain(line)}" for line in more)
    yield plain(summary(entries))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}: must be 1 or more")
    return number


def parse_since(text: str, now: float) -> float:
    """Return the time that `text` means, in seconds since the epoch, local time zone.

    Understands what journalctl's users write; raises UsageError for anything else.
    """
    text = text.strip()
    midnight = (
        datetime.fromtimestamp(now).astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    )
    if ago := re.fullmatch(r"-?(\d{1,9}) ?(s|min|m|h|d)(?: ago)?", text):
        return now - int(ago[1]) * UNITS[ago[2]]
    if text in ("today", "yesterday"):
        return (midnight - timedelta(days=text == "yesterday")).timestamp()
    if clock := re.fullmatch(r"(\d\d?):(\d\d)(?::(\d\d))?", text):
        hour, minute, second = (int(part or 0) for part in clock.groups())
        if hour < 24 and minute < 60 and second < 60:
            at = midnight + timedelta(hours=hour, minutes=minute, seconds=second)
            # A time of day still to come was yesterday's: "what happened at 22:00?" asked at 8.
            return (at if at.timestamp() <= now else at - timedelta(days=1)).timestamp()
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError:
        raise UsageError(
            f'--since "{text}" is no time: write "2h", "30min", "22:00", "yesterday" or '
            '"2026-11-20 03:12"'
        ) from None


def line_of(stored: StoredEvent, form: str) -> str:
    """Return one row of the history in a line, as JSON or for a person."""
    event = stored.event
    if form == "json":
        shape = {
            "id": stored.id,
            "at_seconds": event.at_seconds,
            "service": event.service,
            "kind": event.kind,
            "message": event.message,
            "data": dict(event.data),
        }
        return json.dumps(shape)
    who = event.service or "llmagent"
    return plain(f"{local(event.at_seconds)}  {who:<10} {event.kind:<10} {event.message}")
