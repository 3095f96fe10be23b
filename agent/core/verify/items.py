# SPDX-License-Identifier: Apache-2.0
"""What was asked against what runs, from the engine's own words and metrics."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from agent.core.diagnosis.facts import Facts
from agent.core.engine.answers import ApiFacts, NoAnswer, PrefixProbe
from agent.core.engine.names import same_kv_dtype, same_quantization
from agent.core.measures import GIB
from agent.core.settings.service import Expectations, Settings
from agent.core.verify.check import Check, Statement, Verdict, Wanted, as_item, compare, unknown
from agent.core.verify.kernel import linear_kernel
from agent.core.verify.kv_bytes import kv_bytes_per_token
from agent.core.verify.model_shape import ModelShape
from agent.core.verify.parallel import parallel
from agent.core.verify.served import adapters, other_ways, served_model, work
from agent.core.verify.told import as_told

T = TypeVar("T")

NO_QUANTIZATION = "none"

PRINTED_BYTES = int(0.006 * GIB)
"""vLLM prints the size that it reserves in GiB with two decimals."""


def verify(
    settings: Settings,
    expect: Expectations,
    log: Facts,
    api: ApiFacts,
    *,
    running: Settings | None = None,
    shape: ModelShape | None = None,
    options_file: Mapping[str, Any] | None = None,
) -> tuple[Check, ...]:
    """Return the verification list of one live service.

    `settings`: what agent.toml asks; `running`: what the unit runs with, where recovery changed it.
    Items are judged against `running` and the note names both, unless `expect` gives a value.
    `shape` is the model's, from its config.json. `options_file` is what stands in the file of
    vLLM's --config: what it and `extra_args` ask is judged as keys are. Nothing is proven or
    contradicted without evidence.
    """
    asked, runs = (as_told(one, options_file) for one in (settings, running or settings))
    found = (
        *_checks(asked, expect, log, api, runs, shape),
        *parallel(running or settings, options_file, log, api),
    )
    return tuple(check for check in found if check is not None)


def _checks(
    settings: Settings,
    expect: Expectations,
    log: Facts,
    api: ApiFacts,
    running: Settings,
    shape: ModelShape | None,
) -> Iterator[Check | None]:
    quantization = _first(expect.quantization, settings.quantization)
    kv_dtype = _unless_auto(_first(expect.kv_cache_dtype, settings.kv_cache_dtype))
    yield compare(
        "quantization",
        Wanted(quantization),
        _quantization(log),
        same_quantization,
        "the log has no engine configuration line",
    )
    yield linear_kernel(quantization, expect.linear_kernel, log, api.version)
    yield compare(
        "kv_cache_dtype",
        Wanted(kv_dtype),
        [*_said(log, "kv_cache_dtype", log.kv_cache_dtype), *_label(api, "cache_dtype")],
        same_kv_dtype,
        "neither the log nor /metrics tells it",
    )
    yield kv_bytes_per_token(kv_dtype, running, log, shape)
    yield compare(
        "max_model_len",
        _wanted("max_model_len", expect.max_model_len, settings, running),
        [*_said(log, "max_model_len", log.max_model_len), *_served_length(api)],
        operator.eq,
        "neither the log nor /v1/models tells it",
    )
    yield compare(
        "max_num_seqs",
        _wanted("max_num_seqs", expect.max_num_seqs, settings, running),
        _taken(log, "max_num_seqs", log.max_num_seqs),
        operator.eq,
        "the log does not name it, and no metric does",
    )
    yield compare(
        "gpu_memory_utilization",
        _wanted("gpu_memory_utilization", None, settings, running),
        _utilization(log, api),
        lambda one, other: math.isclose(one, other, abs_tol=1e-6),
        "/metrics does not tell it",
    )
    if running.kv_cache_memory_bytes is not None:
        yield compare(
            "kv_cache_memory_bytes",
            _wanted("kv_cache_memory_bytes", None, settings, running),
            _reserved(log),
            lambda one, other: abs(one - other) <= PRINTED_BYTES,
            "the log does not say that the size was taken as specified",
        )
    yield compare(
        "prefix_caching",
        Wanted(_first(expect.enable_prefix_caching, settings.enable_prefix_caching)),
        [
            *_said(log, "enable_prefix_caching", log.enable_prefix_caching),
            *_flag_label(api, "enable_prefix_caching"),
        ],
        operator.eq,
        "neither the log nor /metrics tells it",
    )
    yield compare(
        "chunked_prefill",
        Wanted(_first(expect.enable_chunked_prefill, settings.enable_chunked_prefill)),
        _said(log, "enable_chunked_prefill", log.enable_chunked_prefill),
        operator.eq,
        "the log has no engine configuration line",
    )
    if settings.start_method is not None:
        yield compare(
            "start_method",
            Wanted(settings.start_method),
            _said(log, "start_method", log.start_method),
            operator.eq,
            "the log does not tell it",
        )
    yield served_model(settings, api)
    yield from adapters(settings, api)
    yield work(api)
    yield from other_ways(api)
    yield _prefix_hits(settings, expect, log, api)
    yield from _ignored_variables(running, log)
    yield from _startup_plan(log)


def _startup_plan(log: Facts) -> Iterator[Check]:
    """Give vLLM's own startup plan where it was applied: nobody asked for it.

    With it the KV cache has an earlier size, whatever gpu_memory_utilization is (RUN 0.32).
    """
    evidence = log.evidence_for("startup_plan")
    if log.startup_plan == "applied" and evidence:
        note = "VLLM_ENABLE_STARTUP_PLAN comes from the image or a drop-in: set it to 0 there"
        yield Check("startup_plan", "not applied", "applied", Verdict.CONTRADICTED, evidence, note)


def _ignored_variables(running: Settings, log: Facts) -> Iterator[Check]:
    """Give the variables of the service's environment that this vLLM says it does not know."""
    for name in (log.ignored_environment or "").split(", "):
        if name in running.environment:
            evidence = f"Unknown vLLM environment variable detected: {name}"
            got = "not read by this vLLM"
            yield Check(f"environment.{name}", "set", got, Verdict.CONTRADICTED, evidence)


def _first(expected: T | None, asked: T | None) -> T | None:
    return asked if expected is None else expected


def _unless_auto(dtype: str | None) -> str | None:
    return None if dtype == "auto" else dtype


def _wanted(name: str, expected: T | None, settings: Settings, running: Settings) -> Wanted[T]:
    asked, runs = getattr(settings, name), getattr(running, name)
    # vLLM 0.14 and later take -1 as "what fits".
    asked, runs = (None if value == -1 else value for value in (asked, runs))
    note = ""
    if asked != runs:
        configured = "nothing" if asked is None else as_item(asked)
        note = f"asked {configured}, running {as_item(runs)}: learned"
    return Wanted(_first(expected, runs), note)


def _said(log: Facts, name: str, value: T | None) -> list[Statement[T]]:
    evidence = log.evidence_for(name)
    return [] if value is None or not evidence else [Statement(value, evidence)]


def _taken(log: Facts, name: str, value: T | None) -> list[Statement[T]]:
    """Return an argument as vLLM took it; its line holds all others too, secrets among them."""
    return [
        Statement(seen.value, f"non-default args: ... '{name}': {seen.value} ...")
        for seen in _said(log, name, value)
    ]


def _quantization(log: Facts) -> list[Statement[str]]:
    evidence = log.evidence_for("quantization")
    return [Statement(log.quantization or NO_QUANTIZATION, evidence)] if evidence else []


def _label(api: ApiFacts, name: str) -> list[Statement[str]]:
    value = api.cache_config.get(name)
    if value is None or value == "None":
        return []
    return [Statement(value, f'/metrics vllm:cache_config_info {name}="{value}"')]


def _flag_label(api: ApiFacts, name: str) -> list[Statement[bool]]:
    return [
        Statement(seen.value == "True", seen.evidence)
        for seen in _label(api, name)
        if seen.value in {"True", "False"}
    ]


def _utilization(log: Facts, api: ApiFacts) -> list[Statement[float]]:
    seen = []
    for label in _label(api, "gpu_memory_utilization"):
        try:
            seen.append(Statement(float(label.value), label.evidence))
        except ValueError:
            continue
    # What the log has is only what was asked of vLLM.
    return seen or _taken(log, "gpu_memory_utilization", log.gpu_memory_utilization)


def _reserved(log: Facts) -> list[Statement[int]]:
    """Return the size that vLLM says it took as specified; what it measured itself is no proof."""
    return [
        Statement(int(seen.value * GIB), seen.evidence)
        for seen in _said(log, "reserved_kv_gib", log.reserved_kv_gib)
    ]


def _served_length(api: ApiFacts) -> list[Statement[int]]:
    if isinstance(api.models, NoAnswer):
        return []
    return [
        Statement(
            model.max_model_len, f"/v1/models {model.id}: max_model_len {model.max_model_len}"
        )
        for model in api.models[:1]
        if model.max_model_len is not None
    ]


def _prefix_hits(
    settings: Settings, expect: Expectations, log: Facts, api: ApiFacts
) -> Check | None:
    wanted = _first(expect.enable_prefix_caching, settings.enable_prefix_caching)
    label = api.cache_config.get("enable_prefix_caching")
    runs = log.enable_prefix_caching if label is None else label == "True"
    if wanted is False or (wanted is None and runs is not True):
        return None
    item, asked = "prefix_cache_hits", "hits when a prompt comes twice"
    match api.prefix:
        case NoAnswer(why):
            return unknown(item, asked, why)
        case PrefixProbe(tokens, before, after, others):
            got = f"{after - before:g} of {tokens} tokens"
            evidence = f"/metrics vllm:prefix_cache_hits_total {before:g} -> {after:g}"
            if after <= before:
                return Check(item, asked, got, Verdict.CONTRADICTED, evidence)
            if others:
                note = "other requests ran meanwhile: the hits may be theirs"
                return Check(item, asked, got, Verdict.UNKNOWN, evidence, note)
            return Check(item, asked, got, Verdict.PROVEN, evidence)
