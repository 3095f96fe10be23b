# SPDX-License-Identifier: Apache-2.0
"""Asks a live vLLM what verification needs to know: a few questions and a few small requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from agent.core.command.picture import picture_of
from agent.core.engine.answers import ApiFacts, Completion, Done, NoAnswer, PrefixProbe, ServedModel
from agent.core.engine.install import release_of
from agent.core.engine.metrics import Counters
from agent.core.engine.work import (
    COMPLETION,
    IMAGE,
    OTHER_WAYS,
    TEXT,
    WORKS,
    is_squeezed,
    logits_of,
    switch_of_activation,
)
from agent.core.settings.service import Settings
from agent.core.verify.served import names_of_adapters
from agent.host.vllm.api import VllmApi
from agent.host.vllm.failure import ApiFailure
from agent.host.vllm.proof import Did, Missed, Prober, Proof, Refused, meaning

SAYS_TOKEN_IDS = (0, 10, 2)
"""From here `return_token_ids` is taken (vllm#22587); 0.6 refused what it did not know."""


_COMPLETION_TOKENS = 16
_BLOCKS = 3
_USUAL_BLOCK = 16
_LONGEST_PROMPT = 4096
"""Tokens; more blocks would prove no more, and the sizes are the server's own words."""
_LONGEST_NUMBER = 9
_MOST_ADAPTERS = 16
"""So many are asked for work: vLLM holds few at once, and loads each that is not there."""

_FIRST = "0"
"""By which a request names the first engine of those behind a front end."""

_POLL_SECONDS = 0.1
_COUNTING_SECONDS = 3.0
"""vLLM counts a request shortly after it answered it."""


def collect(
    api: VllmApi,
    settings: Settings,
    prober: Prober | None = None,
    *,
    sees: bool = False,
    seconds: float = 60.0,
) -> ApiFacts:
    """Ask everything within about `seconds`; what got no answer says why. Never raises.

    `sees`: the model takes pictures, as far as its config.json says.
    """
    end = time.monotonic() + seconds

    def left() -> float:
        return max(0.1, end - time.monotonic())

    version, models = api.version(), api.models()
    model = settings.served_model_name or settings.model
    prober = prober or Prober(api, model)
    release = release_of(version) if isinstance(version, str) else ()
    work = _with_logits(prober, _done(prober.prove(left())), prober.model, release, left)
    counters = _settled(api, 0.0, left)
    completion: Completion | ApiFailure | NoAnswer
    if isinstance(work, Done) and work.item == COMPLETION.item:
        completion = _complete(api, prober.model, release, left)
    else:
        completion = work if isinstance(work, NoAnswer) else NoAnswer("the model generates no text")
    prefix = _probe_prefix_cache(api, settings, prober.model, counters, completion, left)
    return ApiFacts(
        version=version if isinstance(version, str) else None,
        models=_why(models) if isinstance(models, ApiFailure) else models,
        cache_config={} if isinstance(counters, ApiFailure) else counters.cache_config,
        work=work,
        completion=_why(completion) if isinstance(completion, ApiFailure) else completion,
        alone=not isinstance(counters, ApiFailure) and not _busy(counters),
        prefix=prefix,
        engines=() if isinstance(counters, ApiFailure) else _engines(counters),
        besides=_besides(prober, work, left, sees=sees),
        adapters=_adapters(prober, settings, work, models, release, left),
    )


def _complete(
    api: VllmApi, model: str, release: tuple[int, ...], left: Callable[[], float]
) -> Completion | ApiFailure:
    """Ask the fixed question, whose answer is kept."""
    says_ids = release >= SAYS_TOKEN_IDS
    return api.complete(
        model, TEXT, max_tokens=_COMPLETION_TOKENS, timeout=left(), token_ids=says_ids
    )


def _with_logits(
    prober: Prober,
    did: Done | NoAnswer,
    model: str,
    release: tuple[int, ...],
    left: Callable[[], float],
) -> Done | NoAnswer:
    """Ask once more without the activation where that may hide a change, and vLLM can be asked."""
    if not isinstance(did, Done) or isinstance(did.values, str):
        return did
    switch = switch_of_activation(did.item, release) if is_squeezed(did.values) else ""
    work = next((w for w in WORKS if switch and w.item == did.item), None)
    raw = None
    if work is not None:
        match prober.without(switch, work, model, left()):
            case Did(_, came) if not isinstance(came.values, str):
                raw = came.values
    return replace(did, logits=logits_of(did.item, did.values, raw))


def _adapters(
    prober: Prober,
    settings: Settings,
    own: Done | NoAnswer,
    models: tuple[ServedModel, ...] | ApiFailure,
    release: tuple[int, ...],
    left: Callable[[], float],
) -> Mapping[str, Completion | Done | NoAnswer]:
    """Have the adapters that are asked for and listed do the model's work, the first few."""
    work = next((w for w in WORKS if isinstance(own, Done) and w.item == own.item), None)
    if work is None or isinstance(models, ApiFailure) or not settings.extra_args:
        return {}
    served = {model.id for model in models}
    wanted = [name for name in names_of_adapters(picture_of(settings)) if name in served]
    given: dict[str, Completion | Done | NoAnswer] = {}
    for name in wanted[:_MOST_ADAPTERS]:
        if work is COMPLETION:
            said = _complete(prober.api, name, release, left)
            given[name] = _why(said) if isinstance(said, ApiFailure) else said
        else:
            did = _done(prober.by_adapter(name, work, left()))
            given[name] = _with_logits(prober, did, name, release, left)
    return given


def _besides(
    prober: Prober, own: Done | NoAnswer, left: Callable[[], float], *, sees: bool
) -> Mapping[str, Done | NoAnswer]:
    """Ask for the same work in other ways; it comes after what counts requests."""
    if not isinstance(own, Done):
        return {}
    found = {}
    for work in OTHER_WAYS.get(own.item, ()):
        proof = prober.besides(work, left()) if sees or work is not IMAGE else None
        if proof is not None:
            found[work.item] = _done(proof)
    return found


def _done(proof: Proof) -> Done | NoAnswer:
    match proof:
        case Did(work, came, seconds):
            return Done(work.item, work.path, came.what, came.values, seconds)
        case Refused(why):
            return NoAnswer(why, refused=True)
        case Missed(why, away, late):
            return NoAnswer(why, broken=not (away or late))


def _probe_prefix_cache(
    api: VllmApi,
    settings: Settings,
    model: str,
    counters: Counters | ApiFailure,
    completion: Completion | ApiFailure | NoAnswer,
    left: Callable[[], float],
) -> PrefixProbe | NoAnswer:
    """Send one prompt twice and count the hits of the second time.

    Each engine of several has a cache of its own, so that both go to the same one.
    """
    if not isinstance(completion, Completion):
        return NoAnswer("the model completed no request")
    if isinstance(counters, ApiFailure):
        return _why(counters)
    if counters.prefix_cache_hits is None:
        return NoAnswer("this vLLM counts no prefix-cache hits")
    block = _block_size(counters)
    length = min(_BLOCKS * block, _longest(api, settings) - 1, _LONGEST_PROMPT)
    if length <= block:
        return NoAnswer(f"no prompt holds a whole block of {block} tokens")
    prompt = _token_ids(length)
    engine = _FIRST if len(counters.engines) > 1 else ""
    first = api.complete(model, prompt, max_tokens=1, timeout=left(), engine=engine)
    if isinstance(first, ApiFailure):
        return _why(first)
    before = _settled(api, counters.requests_success + 2, left)
    second = api.complete(model, prompt, max_tokens=1, timeout=left(), engine=engine)
    if isinstance(second, ApiFailure):
        return _why(second)
    if isinstance(before, ApiFailure):
        return _why(before)
    after = _settled(api, before.requests_success + 1, left)
    if isinstance(after, ApiFailure):
        return _why(after)
    if engine and _pulse_of_the_first(before) == _pulse_of_the_first(after):
        return NoAnswer("another engine than the one that was named has answered")
    return PrefixProbe(
        prompt_tokens=length,
        hits_before=before.prefix_cache_hits or 0.0,
        hits_after=after.prefix_cache_hits or 0.0,
        others=_busy(before)
        or _busy(after)
        or after.requests_success - before.requests_success != 1,
    )


def _pulse_of_the_first(counters: Counters) -> object:
    first = min(counters.engines, key=int, default="")
    return counters.engines[first].pulse if first else None


def _settled(api: VllmApi, requests: float, left: Callable[[], float]) -> Counters | ApiFailure:
    """Wait until the counters hold that many finished requests; return them in any case."""
    end = time.monotonic() + min(_COUNTING_SECONDS, left())
    while True:
        counters = api.counters()
        if isinstance(counters, ApiFailure) or time.monotonic() >= end:
            return counters
        if counters.requests_success >= requests and not _busy(counters):
            return counters
        time.sleep(_POLL_SECONDS)


def _engines(counters: Counters) -> tuple[str, ...]:
    """Return the labels of all engines; of one alone the counters are not kept apart."""
    return tuple(sorted(counters.engines, key=int)) or ("0",)


def _busy(counters: Counters) -> bool:
    return counters.running + counters.waiting > 0


def _block_size(counters: Counters) -> int:
    config = counters.cache_config
    for name in ("effective_attention_block_size", "block_size"):
        text = config.get(name, "")
        if text.isdecimal() and len(text) <= _LONGEST_NUMBER and int(text) > 0:
            return int(text)
    return _USUAL_BLOCK


def _longest(api: VllmApi, settings: Settings) -> int:
    models = api.models()
    if not isinstance(models, ApiFailure) and models and models[0].max_model_len:
        return models[0].max_model_len
    return settings.max_model_len or _BLOCKS * _USUAL_BLOCK + 1


def _token_ids(length: int) -> tuple[int, ...]:
    """Return ids that any vocabulary has."""
    return tuple(10 + position * 7 % 50 for position in range(length))


def _why(failure: ApiFailure) -> NoAnswer:
    said = _done(meaning(failure, has_key=False))
    assert isinstance(said, NoAnswer)
    return said
