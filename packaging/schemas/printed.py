# SPDX-License-Identifier: Apache-2.0
"""What each command prints with --format json."""

from __future__ import annotations

from shapes import (
    ANY,
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    Schema,
    many,
    of_type,
    one_of,
    or_null,
    shape,
    table,
)

from agent.core.bench.measure import Comparison, Point
from agent.core.diagnosis.facts import Facts
from agent.core.doctor.finding import Finding
from agent.core.gpu.reading import Driver, Gpu
from agent.core.settings.profile import Alert, Band
from agent.core.state.card import Card
from agent.core.verify.check import Check
from agent.core.view.snapshot import FailureView, ServiceView, Snapshot


def status() -> Schema:
    """Return the schema of status.json; see `agent.core.view.snapshot.to_json`."""
    known = of_type(Snapshot)
    properties = {name: of for name, of in known["properties"].items() if name != "gpus"}
    service = of_type(ServiceView)
    service["properties"]["failure"] = or_null(failure())
    properties["services"] = table(service)
    of_gpus = {
        "gpus": many(card()),
        "gpus_sampled_seconds": NUMBER,
        "gpus_stale": BOOLEAN,
        "gpus_nameless": INTEGER,
        "driver": shape({**of_type(Driver)["properties"], "mismatch": ANY}),
    }
    return shape({"format": INTEGER, **properties, **of_gpus}, frozenset(of_gpus))


def card() -> Schema:
    """Return the schema of a GPU: what NVML says of it, then what is remembered of the card."""
    names = or_null(many(STRING))
    watts = or_null(NUMBER)
    remembered = of_type(Card)["properties"]
    limit = {
        "state": STRING,
        "why": STRING,
        "asked_watts": watts,
        "target_watts": watts,
        "held_lower_watts": watts,
        "reasserts": table(INTEGER),
    }
    return shape(
        {
            **of_type(Gpu)["properties"],
            "ecc_errors": table(table(INTEGER)),
            "clock_events": names,
            "clock_events_supported": names,
            "services": many(STRING),
            "power_limit": shape(limit),
            "heat": STRING,
            "throttle": remembered["throttle"],
            "xids": table(shape({"count": INTEGER, "last_seconds": NUMBER})),
            "ailment": remembered["ailment"],
        }
    )


def failure() -> Schema:
    """Return the schema of a failure; its class is called `class`."""
    properties = of_type(FailureView)["properties"]
    return shape({"class": properties.pop("failure_class"), **properties})


OBSTACLE = shape({"path": STRING, "severity": one_of("error", "warning"), "text": STRING})
DONE = shape({"done": BOOLEAN, "message": STRING})


def plan() -> Schema:
    """Return the schema of a plan, and of its tables."""
    verdict = one_of("fits", "tight", "not known", "does not fit")
    gib = ["weights_gib", "activation_gib", "non_torch_gib", "cuda_graph_gib", "available_kv_gib"]
    row = {
        "verdict": verdict,
        "reason": STRING,
        "weights_gib": NUMBER,
        "available_kv_gib": NUMBER,
        "kv_tokens": INTEGER,
        "max_model_len": INTEGER,
        "max_concurrency": NUMBER,
        "largest_max_model_len": INTEGER,
        "decode_roof_tokens_per_second": or_null(NUMBER),
    }
    card = {"card": STRING, "count": INTEGER, "memory_gib": NUMBER, "price": or_null(NUMBER)}
    cards = shape({**card, "gpus": INTEGER, **row}, frozenset({"price"}))
    term = {"name": STRING, "gib": NUMBER, "error_gib": NUMBER, "how": STRING}
    one = shape(
        {
            "verdict": verdict,
            "reason": STRING,
            **dict.fromkeys([*gib, "error_gib", "needed_kv_gib"], NUMBER),
            **dict.fromkeys(["kv_bytes_per_token", "kv_tokens"], INTEGER),
            "max_concurrency": NUMBER,
            **dict.fromkeys(["max_model_len", "largest_max_model_len"], INTEGER),
            "terms": many(shape(term)),
            **dict.fromkeys(["advice", "notes", "not_known"], many(STRING)),
            "gpus": INTEGER,
            "gpu": shape({"name": STRING, "memory_gib": NUMBER}),
            "host_memory": many(shape({"name": STRING, "gib": NUMBER, "how": STRING})),
            "decode_roof_tokens_per_second": or_null(NUMBER),
        }
    )
    formats = shape({"format": STRING, "kv_cache_dtype": STRING, **row})
    return {
        "anyOf": [
            one,
            shape({"cards": many(cards), "unit": STRING}),
            shape({"formats": many(formats)}),
            shape(
                {
                    "contexts": many(shape({"context": INTEGER, **row})),
                    "users": many(shape({"users": INTEGER, "longest": INTEGER})),
                }
            ),
        ]
    }


def profiles() -> Schema:
    """Return the schema of the list of profiles, and of one."""
    row = {"name": STRING, "description": STRING, "cards": many(STRING), "model": STRING}
    short = {"verdict": STRING, "reason": STRING}
    numbers = {"available_kv_gib": NUMBER, "max_concurrency": NUMBER}
    one = {
        "name": STRING,
        "description": STRING,
        **dict.fromkeys(["settings", "expect", "recovery"], table(ANY)),
        "bands": many(of_type(Band)),
        "alerts": many(of_type(Alert)),
        "notes": many(STRING),
        "plan": or_null(shape({**short, **numbers})),
        "contradictions": many(STRING),
    }
    return {"anyOf": [shape({"profiles": many(shape(row))}), shape(one)]}


def bench() -> Schema:
    """Return the schema of measurements, and of a sweep."""
    outcome = {
        "setting": STRING,
        "value": NUMBER,
        "output_tokens_per_second": or_null(NUMBER),
        "why": STRING,
    }
    measured = {
        "service": STRING,
        "vllm_version": STRING,
        "model": STRING,
        "points": many(of_type(Point)),
        "comparisons": many(of_type(Comparison)),
        "saved": or_null(STRING),
    }
    swept = {
        "service": STRING,
        "outcomes": many(shape(outcome)),
        "would_set": table(NUMBER),
        "applied": or_null(STRING),
    }
    return {"anyOf": [shape(measured), shape(swept)]}


def diagnose() -> Schema:
    """Return the schema of a diagnosis.

    "runs" where a service's journal was read, "services" where a log holds several.
    """
    service = {"name": STRING, "outcome": STRING, "class": or_null(STRING)}
    remedy = {**shape({"action": STRING, "why": STRING}), "additionalProperties": True}
    run = {"at_seconds": NUMBER, "outcome": STRING, "class": or_null(STRING)}
    progress = {"what": STRING, "done": or_null(NUMBER), "detail": STRING}
    return shape(
        {
            "vllm_version": or_null(STRING),
            "outcome": STRING,
            "class": or_null(STRING),
            "phase": STRING,
            "evidence": many(STRING),
            "remedy": remedy,
            "transient": or_null(BOOLEAN),
            "also": many(STRING),
            "numbers": table(NUMBER),
            "facts": shape(dict.fromkeys(Facts().values(), ANY)),
            "progress": or_null(shape(progress)),
            "runs": many(shape(run)),
            "services": many(shape(service)),
        },
        frozenset({"runs", "services"}),
    )


def found() -> Schema:
    """Return the schema of what `llmagent init` sees on the host."""
    gpu = {"index": INTEGER, "name": STRING, "memory_gib": or_null(NUMBER)}
    model = {"name": STRING, "gib": or_null(NUMBER), "place": STRING}
    return shape(
        {
            "gpus": many(shape({**gpu, "compute_capability": ANY})),
            "driver": or_null(STRING),
            "engines": many(shape({"python": STRING, "version": or_null(STRING)})),
            "images": many(shape({"image": STRING, "runtime": STRING})),
            "models": many(shape(model)),
            "running": many(shape({"pid": INTEGER, "unit": or_null(STRING)})),
            "free_gib": or_null(NUMBER),
        }
    )


def printed() -> dict[str, Schema]:
    """Return the schema of what each command prints, by its name."""
    verified = {
        "unit": STRING,
        "url": STRING,
        "answered": BOOLEAN,
        "verified": BOOLEAN,
        "pending": many(STRING),
        "checks": many(of_type(Check)),
    }
    why = {"phase": STRING, "reason": STRING, "what_to_do": STRING, "failure": or_null(failure())}
    rendered = {"service": STRING, "path": STRING, "text": STRING, "installed": or_null(STRING)}
    event = {"id": INTEGER, "at_seconds": NUMBER, "service": STRING, "kind": STRING}
    part = {"name": STRING, "what": STRING, "bytes": INTEGER, "problem": STRING}
    checked = {"file": STRING, "ok": BOOLEAN, "services": many(STRING), "mistakes": many(STRING)}
    changed = {"on_reload": many(STRING), "restarts": many(STRING)}
    of_host = {"address": STRING, "error": STRING, "status": or_null(status())}
    left_out = many(shape({"what": STRING, "why": STRING}))
    return {
        "check": shape({**checked, "findings": many(OBSTACLE), **changed}),
        "render": shape({"units": many(shape({**rendered, "differs": BOOLEAN}))}),
        "plan": plan(),
        "profiles": profiles(),
        "doctor": shape({"ok": BOOLEAN, "findings": many(of_type(Finding))}),
        "status": status(),
        "status-hosts": shape({"hosts": table(shape(of_host))}),
        "why": shape({"services": table(shape(why))}),
        "verify": shape({"services": table(shape(verified))}),
        "events": shape({**event, "message": STRING, "data": table(ANY)}),
        "diagnose": diagnose(),
        "bench": bench(),
        "bundle": shape({"file": STRING, "bytes": INTEGER, "parts": many(shape(part))}),
        "init": shape(
            {
                "found": found(),
                "service": table(table(ANY)),
                "plan": shape({"verdict": STRING, "reason": STRING}),
                "mistakes": many(STRING),
                "findings": many(OBSTACLE),
                "written": BOOLEAN,
            }
        ),
        "import": shape(
            {
                "from": STRING,
                "services": table(table(ANY)),
                "left_out": left_out,
                "files": many(STRING),
                "mistakes": many(STRING),
                "findings": many(OBSTACLE),
                "written": BOOLEAN,
                "taken_over": BOOLEAN,
            }
        ),
        "drill": shape(
            {
                "service": STRING,
                "fault": STRING,
                "serving_seconds": or_null(NUMBER),
                "told_seconds": or_null(NUMBER),
                "rows": many(
                    shape({"seconds": NUMBER, "service": STRING, "kind": STRING, "message": STRING})
                ),
            }
        ),
        "notify": shape({"told": many(shape({"name": STRING, "problem": STRING}))}),
        **dict.fromkeys(["pause", "resume", "restart", "drain"], DONE),
    }
