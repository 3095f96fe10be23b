# SPDX-License-Identifier: Apache-2.0
"""`llmagent diagnose [FILE|SERVICE|-]`: what a vLLM log shows, whoever wrote, carried or cut it.

Of a service every run in its journal is told, failures first; as JSON the first of them has a key
"runs": [{"at_seconds", "outcome", "class"}] besides. A log that several services wrote is told
service by service, the one that failed first before the others; as JSON that one has a key
"services": [{"name", "outcome", "class"}] besides.

--format json prints {"vllm_version", "outcome", "class", "phase", "evidence": [line], "remedy":
{"action", "why", ...}, "transient": true | false | null, "also": [class], "numbers": {name:
number}, "facts": {name: value | null}, "progress": {"what", "done", "detail"} | null}. Exit status
0, or 1 when nothing was recognised, or no cause.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from agent.cli.screen.options import add_format
from agent.cli.screen.terminal import local
from agent.core.diagnosis.carried.services import ServicesReader
from agent.core.diagnosis.reader import Diagnosis
from agent.core.diagnosis.unfolding.unfolded import MAX_TEXT, shows_a_form, unfolded
from agent.core.engine.flags import of_refused
from agent.core.failures.classes import EnginePhase, FailureClass, Group, Outcome
from agent.core.failures.meaning import advice_for_class, group_of
from agent.core.plain import plain, plain_values
from agent.core.remedy.case import Case, Change, Hold, Refetch, Remedy, Retry, StartOver, Wait
from agent.core.remedy.ladders import TOO_LOW
from agent.core.remedy.propose import propose
from agent.core.settings.service import Settings
from agent.errors import UsageError
from agent.host.data.signatures import load_signatures
from agent.tasks.diagnose_journal import diagnose_journal

if TYPE_CHECKING:
    from argparse import _SubParsersAction

BLOCK = 32_768
"""Bytes read at a time, and then to the end of the line: what a block makes of it takes memory."""

CHUNK = 65_536
"""Bytes read of one line at a time; a longer line is looked at in parts."""

LOOKED_AT = 400
"""Characters by which it is told whether a text is one."""

_NOTHING_AT_ALL = "the log shows nothing to cure"
_GONE = (
    "; if this process is gone, it was killed from outside: see journalctl -k for the OOM killer "
    "and the state of its container or unit"
)
_NOTHING = {
    Outcome.RUNNING: f"{_NOTHING_AT_ALL}, and ends in the middle of a start{_GONE}",
    Outcome.READY: f"{_NOTHING_AT_ALL}, and ends while it serves{_GONE}",
}

_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}(?:\.service)?")


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `llmagent`."""
    parser = subparsers.add_parser(
        "diagnose",
        help="say what a vLLM log shows",
        epilog="Examples: `llmagent diagnose /tmp/vllm.log`, "
        "`docker logs vllm 2>&1 | llmagent diagnose`, `llmagent diagnose vllm`.",
    )
    parser.add_argument(
        "file",
        metavar="FILE|SERVICE",
        nargs="?",
        help="a log; a service, whose journal is read run by run (vllm on a terminal); - is a pipe",
    )
    add_format(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read the log and print what it shows."""
    file = args.file or ("vllm" if sys.stdin.isatty() else "-")
    if _SERVICE.fullmatch(file) and not Path(file).exists():
        return _of_the_journal(f"{file.removesuffix('.service')}.service", args.format)
    reader = ServicesReader(load_signatures())
    if file == "-":
        read(sys.stdin.buffer, reader, "the pipe")
    else:
        try:
            with Path(file).open("rb") as stream:
                read(stream, reader, file)
        except OSError as error:
            message = f"{file}: {error.strerror or error}; name a readable log, or - for a pipe"
            raise UsageError(message) from error
    return _print(reader, args.format)


def _print(reader: ServicesReader, form: str) -> int:
    """Print what the log shows: of several services in it each, the one that failed first."""
    services = reader.services()
    first = services[0].diagnosis if services else reader.diagnosis()
    if form == "json":
        told = [
            {"name": plain(s.name), "outcome": s.diagnosis.outcome, "class": s.diagnosis.failure}
            for s in services
        ]
        shape = {**json.loads(json_of(first)), **({"services": told} if told else {})}
        print(json.dumps(shape, indent=2, ensure_ascii=False))
    elif services:
        print("\n\n".join(f"{plain(s.name)}\n{human(s.diagnosis)}" for s in services))
    else:
        print(human(first))
    return _status_of(first)


def _status_of(diagnosis: Diagnosis) -> int:
    nothing = diagnosis.outcome is Outcome.UNKNOWN or diagnosis.failure is FailureClass.UNKNOWN
    return 1 if nothing else 0


def _of_the_journal(unit: str, form: str) -> int:
    """Print every run of the unit that the journal has; as JSON the first of them, and a list."""
    runs = diagnose_journal(unit, load_signatures())
    if not runs:
        raise UsageError(f"the journal has no line of {unit}; name a log file, or - for a pipe")
    first = runs[0].diagnosis
    if form == "json":
        others = [
            {
                "at_seconds": run.began,
                "outcome": run.diagnosis.outcome,
                "class": run.diagnosis.failure,
            }
            for run in runs
        ]
        print(json.dumps({**json.loads(json_of(first)), "runs": others}, indent=2))
    else:
        told = [f"{unit}, run of {local(run.began)}\n{human(run.diagnosis)}" for run in runs]
        print("\n\n".join(told))
    return _status_of(first)


def read(stream: BinaryIO, reader: ServicesReader, name: str) -> None:
    """Have a log read to its end, whole lines at a time; UsageError for one without a word.

    Where its beginning shows that it was pasted or exported in another form than that of a log, it
    is looked at as a whole, unless it is long.
    """
    chunk = stream.read(BLOCK) + stream.readline(CHUNK)
    is_empty = not chunk.strip()
    if _is_utf16(chunk) or shows_a_form(_decoded(chunk)):
        chunk += stream.read(MAX_TEXT)
        text = _decoded(chunk)
        reader.feed_text(unfolded(text) if len(chunk) < MAX_TEXT else text)
        chunk = stream.read(BLOCK)
    while chunk:
        chunk += stream.readline(CHUNK)
        is_empty = is_empty and not chunk.strip()
        reader.feed_text(chunk.decode(errors="replace"))
        chunk = stream.read(BLOCK)
    if is_empty:
        raise UsageError(
            f"{name} is empty: give it what vLLM printed, or name a service, as "
            "`llmagent diagnose vllm`"
        )


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-16" if _is_utf16(raw) else "utf-8", errors="replace")


def _is_utf16(raw: bytes) -> bool:
    """Tell whether a text begins as UTF-16 does, as a Windows shell writes it."""
    if not raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return False
    text = raw[: 2 * LOOKED_AT].decode("utf-16", errors="replace")
    return 2 * sum(map(str.isprintable, text)) > len(text)


def remedy_of(diagnosis: Diagnosis) -> dict[str, object]:
    """Return what cures the failure: "action", "why", and the numbers that it rests on."""
    failure = diagnosis.failure
    if failure is None:
        return {"action": "none", "why": _NOTHING.get(diagnosis.outcome, _NOTHING_AT_ALL)}
    if diagnosis.outcome is Outcome.STOPPED:
        return {"action": "none", "why": _advice(diagnosis, failure)}
    if group_of(failure) is Group.FALLBACK or diagnosis.outcome is Outcome.DEGRADED:
        return {"action": "report", "why": _advice(diagnosis, failure)}
    facts = diagnosis.facts
    running = Settings(
        name="vllm",
        model=facts.model or "",
        gpu_memory_utilization=facts.gpu_memory_utilization,
        max_model_len=facts.max_model_len,
        max_num_seqs=facts.max_num_seqs,
        max_num_batched_tokens=facts.max_num_batched_tokens,
        enforce_eager=facts.enforce_eager,
    )
    case = Case(
        failure,
        diagnosis.numbers,
        running,
        vllm_version=diagnosis.vllm_version,
        host_memory=diagnosis.facts.device == "cpu",
        advice=diagnosis.advice,
        switches=diagnosis.switches,
        place=diagnosis.place,
        served=diagnosis.phase is EnginePhase.SERVING,
        guessed=diagnosis.guessed,
        beyond_settings=diagnosis.beyond_settings,
    )
    remedy = _remedy(propose(case), case, running)
    if failure in (FailureClass.REMOVED_FLAG, FailureClass.UNKNOWN_ARG):
        flags = of_refused(diagnosis.evidence[0]) if diagnosis.evidence else ""
        remedy["why"] = f"{remedy['why']} {flags}.".removesuffix(" .")
    if facts.ignored_environment:
        remedy["why"] = f"{remedy['why']} This vLLM does not read {facts.ignored_environment}."
    return {**remedy, **diagnosis.numbers.printed()}


def _advice(diagnosis: Diagnosis, failure: FailureClass) -> str:
    return diagnosis.advice or advice_for_class(failure)


def _remedy(remedy: Remedy, of: Case, running: Settings) -> dict[str, object]:
    match remedy:
        case Change(setting, value, why):
            before = getattr(running, setting, None)
            before = getattr(of.numbers, setting, None) if before is None else before
            raised = setting == "gpu_memory_utilization" and of.failure in TOO_LOW
            raised = raised or (before is not None and value > before)
            verb = "set" if isinstance(value, bool) else "raise" if raised else "lower"
            return {"action": verb, "setting": setting, "value": value, "from": before, "why": why}
        case Refetch(why):
            return {"action": "fetch", "why": _with_advice(why, of)}
        case Retry(why) | StartOver(why):
            return {"action": "restart", "why": _with_advice(why, of)}
        case Wait(seconds, why):
            return {"action": "wait", "seconds": seconds, "why": why}
        case Hold(why, advice):
            return {"action": "hold", "why": f"{why}. {advice}"}


def _with_advice(why: str, case: Case) -> str:
    advice = case.advice or advice_for_class(case.failure)
    return why if advice in why else f"{why}; {advice}"


def json_of(diagnosis: Diagnosis) -> str:
    """Return the documented JSON."""
    progress = diagnosis.progress
    shape = {
        "vllm_version": diagnosis.vllm_version,
        "outcome": diagnosis.outcome,
        "class": diagnosis.failure,
        "phase": diagnosis.phase,
        "evidence": list(diagnosis.evidence),
        "remedy": remedy_of(diagnosis),
        "transient": diagnosis.transient,
        "also": list(diagnosis.also),
        "numbers": diagnosis.numbers.printed(),
        "facts": diagnosis.facts.values(),
        "progress": None
        if progress is None
        else {"what": progress.what, "done": progress.done, "detail": progress.detail},
    }
    return json.dumps(plain_values(shape), indent=2, ensure_ascii=False)


def human(diagnosis: Diagnosis) -> str:
    """Return the same for a person: the cause first, then what to do, then what proves it."""
    version = (
        f"vLLM {diagnosis.vllm_version}" if diagnosis.vllm_version else "vLLM, version unknown"
    )
    lines = [f"{version}: {diagnosis.outcome} (phase {diagnosis.phase})"]
    if diagnosis.failure is not None:
        lines.append(f"{'class':<10}{diagnosis.failure}")
        remedy = remedy_of(diagnosis)
        setting = f" {remedy['setting']} to {remedy['value']}" if "setting" in remedy else ""
        lines.append(f"{'remedy':<10}{remedy['action']}{setting}: {remedy['why']}")
    elif diagnosis.outcome is Outcome.RUNNING:
        lines.append(f"{'note':<10}{remedy_of(diagnosis)['why']}")
    if diagnosis.progress is not None:
        done = "" if diagnosis.progress.done is None else f" {diagnosis.progress.done:.0%}"
        lines.append(f"{'progress':<10}{diagnosis.progress.what}{done} {diagnosis.progress.detail}")
    if diagnosis.also:
        lines.append(f"{'also':<10}{', '.join(diagnosis.also)}")
    lines += [f"{'evidence':<10}{line}" for line in diagnosis.evidence]
    said = {k: v for k, v in diagnosis.facts.values().items() if k in diagnosis.facts.proofs}
    said.pop("non_default_args", None)
    lines += [f"{'fact':<10}{name} = {value}" for name, value in said.items()]
    return "\n".join(map(plain, lines))
