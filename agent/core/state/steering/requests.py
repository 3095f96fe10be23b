# SPDX-License-Identifier: Apache-2.0
"""What an operator may ask of the running agent, and the answer.

A request comes as one line of JSON over the control socket: {"do": "pause", "service": "vllm",
"seconds": 7200}. Whoever may write there is root or in the group llmagent, but what is written is
judged like any stranger's text: no key, type or number is taken on trust.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from agent.core.measures import DAY_SECONDS
from agent.core.plain import plain
from agent.core.record import dataclass
from agent.core.state.steering.asked import LONGEST_REQUEST

SHORTEST_PAUSE_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 7 * DAY_SECONDS
"""A pause that nobody remembers must end by itself, or the host is without its agent for ever."""

LONGEST_DRAIN_SECONDS = DAY_SECONDS
SHOWN = 60


class BadRequestError(ValueError):
    """Says what is wrong with a request, in a sentence for who sent it."""


@dataclass(frozen=True, slots=True)
class AskPause:
    """Watch and tell, but do not act, for so long; `service` "" is the whole host."""

    service: str
    seconds: float


@dataclass(frozen=True, slots=True)
class AskResume:
    """Act again; `service` "" ends every pause."""

    service: str


@dataclass(frozen=True, slots=True)
class AskRestart:
    """Restart the service now, at a time of day (seconds since midnight), or when it is idle.

    `cancel` takes a planned one back instead.
    """

    service: str
    time_of_day: float | None = None
    when_idle: bool = False
    every_day: bool = False
    cancel: bool = False


@dataclass(frozen=True, slots=True)
class AskDrain:
    """Stop the service once no request runs or waits, after so long at the latest."""

    service: str
    seconds: float


class Fault(StrEnum):
    """What a drill may bring about; all but KILL are only pretended."""

    KILL = "kill"
    HOT = "hot"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class AskDrill:
    """Let an operator see what comes of a fault.

    KILL is only announced by this: whoever asks kills the engine's process after the answer.
    """

    service: str
    fault: Fault


Request = AskPause | AskResume | AskRestart | AskDrain | AskDrill


def request_of(text: str) -> Request:
    """Return the request that a line asks for. Raises BadRequestError, and nothing else."""
    if len(text) > LONGEST_REQUEST:
        raise BadRequestError(f"a request has at most {LONGEST_REQUEST} characters")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise BadRequestError("a request is one line of JSON") from None
    if not isinstance(document, dict):
        raise BadRequestError('a request is an object like {"do": "pause", "service": "vllm"}')
    what = document.pop("do", None)
    make = _MAKERS.get(what) if isinstance(what, str) else None
    if make is None:
        known = ", ".join(_MAKERS)
        raise BadRequestError(f"{_shown(what)} is nothing that can be asked; known: {known}")
    request = make(document)
    if document:
        raise BadRequestError(f"a request to {what} has no {_shown(next(iter(document)))}")
    return request


def _pause(document: dict[str, Any]) -> Request:
    service = _text(document)
    seconds = _number(document, "seconds", SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
    return AskPause(service, seconds)


def _resume(document: dict[str, Any]) -> Request:
    return AskResume(_text(document))


def _restart(document: dict[str, Any]) -> Request:
    time_of_day = None
    if document.get("time_of_day") is not None:
        time_of_day = _number(document, "time_of_day", 0.0, DAY_SECONDS - 1)
    document.pop("time_of_day", None)
    flags = {name: _flag(document, name) for name in ("when_idle", "every_day", "cancel")}
    if flags["every_day"] and time_of_day is None:
        raise BadRequestError("a restart every day needs a time of day")
    if flags["cancel"] and (time_of_day is not None or flags["when_idle"]):
        raise BadRequestError("what is taken back has no time")
    return AskRestart(_named(document), time_of_day, **flags)


def _drain(document: dict[str, Any]) -> Request:
    service = _named(document)
    return AskDrain(service, _number(document, "seconds", 0.0, LONGEST_DRAIN_SECONDS))


def _drill(document: dict[str, Any]) -> Request:
    service, fault = _named(document), document.pop("fault", None)
    if not isinstance(fault, str) or fault not in set(Fault):
        known = ", ".join(Fault)
        raise BadRequestError(f"fault is {_shown(fault)}; known: {known}")
    return AskDrill(service, Fault(fault))


_MAKERS: Mapping[str, Callable[[dict[str, Any]], Request]] = MappingProxyType(
    {
        "pause": _pause,
        "resume": _resume,
        "restart": _restart,
        "drain": _drain,
        "drill": _drill,
    }
)


def _named(document: dict[str, Any]) -> str:
    service = _text(document)
    if not service:
        raise BadRequestError("it must name a service")
    return service


def _text(document: dict[str, Any]) -> str:
    service = document.pop("service", "")
    if not isinstance(service, str):
        raise BadRequestError(f"service is {_shown(service)}, not a name")
    return service


def _number(document: dict[str, Any], name: str, least: float, most: float) -> float:
    number = document.pop(name, None)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise BadRequestError(f"{name} is {_shown(number)}, not a number")
    if not least <= number <= most or not math.isfinite(number):
        raise BadRequestError(f"{name} must be between {least:.0f} and {most:.0f}")
    return float(number)


def _flag(document: dict[str, Any], name: str) -> bool:
    flag = document.pop(name, False)
    if not isinstance(flag, bool):
        raise BadRequestError(f"{name} is {_shown(flag)}, not true or false")
    return flag


def _shown(value: object) -> str:
    """Return a stranger's value in a few plain characters, a number of many digits in words."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 1 << 64:
        return "a huge number"
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    return plain(json.dumps(value), SHOWN)
