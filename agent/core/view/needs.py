# SPDX-License-Identifier: Apache-2.0
"""What needs a person, read from status.json: the same for every screen and the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agent.core.doctor.finding import Result
from agent.core.record import dataclass

AWAY_SECONDS = 60.0
"""Hosts and agents start anew in less."""

NOT_YET = "not looked yet"
"""What a source says of itself until its first look (`agent.daemon.sources.thread`)."""


@dataclass(frozen=True, slots=True)
class Need:
    """Something that llmagent cannot mend by itself: what it is, and what a person does about it.

    `about` is the service, or "GPU 0"; "" for the host.
    """

    what: str
    to_do: str
    about: str = ""


def needs_a_person(document: Mapping[str, Any]) -> Iterator[Need]:
    """Yield what llmagent cannot mend by itself, worst first."""
    for name, s in document["services"].items():
        if s["phase"] == "held":
            to_do = s["held"]["what_to_do"] if s["held"] else f"llmagent why {name}"
            yield Need(f"{name} is held: {s['reason']}", to_do, name)
    yield from _of_the_gpus(document)
    for name, s in document["services"].items():
        yield from _of_the_group(name, s, document["at_seconds"])
    if not document["config_valid"]:
        text = "agent.toml is refused, the last good one is in force"
        yield Need(text, "llmagent check names every mistake; then systemctl reload llmagent")
    for name, s in document["services"].items():
        if items := [str(check["item"]) for check in contradicted(s)]:
            to_do = f"llmagent verify {name} shows the evidence for each"
            yield Need(f"{name} does not run as asked: {', '.join(items)}", to_do, name)
    for found in document["findings"]:
        if found["result"] == Result.FAIL:
            what = f"doctor: {found['check']}: {found['evidence']}"
            yield Need(what, found["fix"] or "llmagent doctor", found["service"])
    if (notify := document.get("notify")) and notify["problem"]:
        what = f"{notify['unsent']} messages could not be sent: {notify['problem']}"
        yield Need(what, "llmagent notify --test")
    if notify and notify["heartbeat_problem"]:
        what = f"the dead-man's switch gets no ping: {notify['heartbeat_problem']}"
        yield Need(what, "look at [notify] in agent.toml, and at the way to that address")
    for source in document["sources"]:
        if not source["up"] and source["detail"] != NOT_YET:
            what = f"source {source['name']} is down: {source['detail']}"
            yield Need(what, "journalctl -u llmagent says since when; see man llmagent-alerts")


def contradicted(s: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the checks of the present run that show something else than was asked."""
    return [check for check in s["verification"] if check["verdict"] == "contradicted"]


def _of_the_group(name: str, s: Mapping[str, Any], now: float) -> Iterator[Need]:
    """Yield what keeps the ranks of several hosts apart, and no agent can mend."""
    group = s.get("cluster")
    for peer in group["peers"] if group else ():
        host = peer["host"] or peer["address"].partition("://")[2]
        if peer["unlike"]:
            what = f"{name} and {host} are not the same: {'; '.join(peer['unlike'])}"
            yield Need(what, f"llmagent check on both hosts; no rank of {name} starts so", name)
        elif not peer["answers"] and now - _last_chance(peer) >= AWAY_SECONDS:
            what = f"the llmagent of {host} does not answer: {peer['problem']}"
            yield Need(what, f"look at that host, and at [metrics] listen there: {name}", name)


def _last_chance(peer: Mapping[str, Any]) -> float:
    """Return since when a peer may be missed: its last answer, or the first question to it."""
    return max(float(peer["seen_seconds"]), float(peer.get("asked_seconds", 0.0)))


def _of_the_gpus(document: Mapping[str, Any]) -> Iterator[Need]:
    for gpu in document.get("gpus", ()):
        about, ailment = f"GPU {gpu['index']}", gpu["ailment"]
        if gpu["lost"]:
            to_do = ailment["what_to_do"] if ailment else "llmagent doctor; a reboot may be needed"
            yield Need(f"{about} is lost", to_do, about)
        elif ailment is not None:
            yield Need(str(ailment["why"]), str(ailment["what_to_do"]), about)
    if document.get("driver", {}).get("mismatch"):
        text = "the driver's library and module differ: the next start of vLLM fails"
        yield Need(text, "reboot, or load the module of the installed driver")
